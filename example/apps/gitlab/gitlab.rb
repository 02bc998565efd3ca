# GitLab's settings, in this one place. A commit that changes this file restarts GitLab with them: about five minutes.
# All settings there are: https://docs.gitlab.com/omnibus/settings/configuration/
# A value that must not be in Git goes into the Secret gitlab-env, and here as ENV['ITS_NAME']: see README.md.

external_url 'https://gitlab.lab'
gitlab_rails['time_zone'] = 'Europe/Warsaw'
gitlab_rails['gitlab_shell_ssh_port'] = 2223

# Traefik ends https and talks plain HTTP to the pod. GitLab is told of https all the same, so that clone addresses,
# e-mails and the registry's realm say https.
letsencrypt['enable'] = false
gitlab_rails['nginx']['listen_port'] = 80
gitlab_rails['nginx']['listen_https'] = false
gitlab_rails['nginx']['redirect_http_to_https'] = false
# That browsers use https only from now on (HSTS) is said here, for GitLab and the registry. Traefik says it of none of their
# hosts: a middleware with stsSeconds would send it twice.
gitlab_rails['nginx']['hsts_max_age'] = 63072000
registry['nginx']['hsts_max_age'] = 63072000

# Whose X-Forwarded-For is believed: the pods', Traefik among them. Anyone else's is ignored.
gitlab_rails['nginx']['real_ip_trusted_addresses'] = ['10.42.0.0/16']
gitlab_rails['nginx']['real_ip_header'] = 'X-Forwarded-For'
gitlab_rails['nginx']['real_ip_recursive'] = 'on'

# The container registry, behind an NGINX of its own.
registry_external_url 'https://registry.lab'
registry['enable'] = true
gitlab_rails['registry_enabled'] = true
registry['nginx']['enable'] = true
registry['nginx']['listen_port'] = 5050
registry['nginx']['listen_https'] = false
registry['nginx']['redirect_http_to_https'] = false
registry['nginx']['real_ip_trusted_addresses'] = ['10.42.0.0/16']
registry['nginx']['real_ip_header'] = 'X-Forwarded-For'
registry['nginx']['real_ip_recursive'] = 'on'
registry['env'] = { 'REGISTRY_HTTP_RELATIVEURLS' => 'true' }

# A pushed image is told to Flux at once. The bootstrap puts the address, which is a secret, into the pod.
if ENV['REGISTRY_WEBHOOK_URL']
  registry['notifications'] = [
    {
      'name' => 'flux',
      'url' => ENV['REGISTRY_WEBHOOK_URL'],
      'timeout' => '5s',
      'maxretries' => 10,
      'backoff' => '10s',
      # Of a pushed image Flux is told once, not of each of its layers as well, and of no pull.
      'ignore' => { 'mediatypes' => ['application/octet-stream'], 'actions' => ['pull'] }
    }
  ]
end

# E-mail.
gitlab_rails['smtp_enable'] = true
gitlab_rails['smtp_address'] = 'smtp-service.local'
gitlab_rails['smtp_port'] = 25
gitlab_rails['smtp_domain'] = 'gitlab.lab'
gitlab_rails['smtp_tls'] = false
gitlab_rails['smtp_enable_starttls_auto'] = true
# Beside the public authorities, those that GitLab trusts by /etc/gitlab/trusted-certs.
gitlab_rails['smtp_openssl_verify_mode'] = 'peer'
gitlab_rails['smtp_ca_path'] = '/etc/gitlab/trusted-certs'
if ENV['SMTP_PASSWORD']
  gitlab_rails['smtp_user_name'] = ENV['SMTP_USER_NAME']
  gitlab_rails['smtp_password'] = ENV['SMTP_PASSWORD']
  gitlab_rails['smtp_authentication'] = 'login'
end
gitlab_rails['gitlab_email_enabled'] = true
# GitLab's package copies these three into a YAML file as they are, so they are written as YAML: '"Git: home"', not 'Git: home'.
gitlab_rails['gitlab_email_from'] = 'gitlab@angrybits.example'
gitlab_rails['gitlab_email_display_name'] = 'Gitlab'
gitlab_rails['gitlab_email_reply_to'] = 'noreply@angrybits.example'

# Bans after failed Git and registry log-ins; never of the nodes, for then an expired pull secret would shut out the cluster.
# The pods' network is not exempt: applications are in it, too. NODE_IP is the node that the pod is on; the bootstrap puts the
# addresses of all nodes into NODE_IPS.
gitlab_rails['rack_attack_git_basic_auth'] = {
  'enabled' => true,
  'ip_whitelist' => (['127.0.0.1'] + "#{ENV['NODE_IP']} #{ENV['NODE_IPS']}".split).uniq,
  'maxretry' => 10,
  'findtime' => 600,
  'bantime' => 136000
}

# What this lab does not use: Prometheus with its alert manager and exporters, and the agent for clusters.
prometheus_monitoring['enable'] = false
gitlab_kas['enable'] = false

# A few people, about 4 GB of memory (docs.gitlab.com/omnibus/settings/memory_constrained_envs/).
puma['worker_processes'] = 0
sidekiq['concurrency'] = 10
gitlab_rails['env'] = { 'MALLOC_CONF' => 'dirty_decay_ms:1000,muzzy_decay_ms:1000' }
gitaly['env'] = { 'MALLOC_CONF' => 'dirty_decay_ms:1000,muzzy_decay_ms:1000' }

# The registry keeps in a database of its own which images there are. GitLab's backup and restore take it along only where
# they have roles with passwords there; nobody outside of the pod can use these. They follow from root's first password, a Secret.
# docs.gitlab.com/omnibus/settings/backups/#container-registry-metadata-database-backup-credentials
if ENV['GITLAB_ROOT_PASSWORD']
  require 'digest'
  gitlab_rails['backup_role'] = true
  gitlab_rails['backup_registry_password'] = Digest::SHA256.hexdigest("registry_backup #{ENV['GITLAB_ROOT_PASSWORD']}")
  gitlab_rails['restore_registry_password'] = Digest::SHA256.hexdigest("registry_restore #{ENV['GITLAB_ROOT_PASSWORD']}")
end

# Backups older than this go when a new one is made.
gitlab_rails['backup_keep_time'] = 604800
