# Prints, a line a lab, what GitLab holds of its settings once the package has written them into gitlab.yml, as JSON.
# Usage: ruby gitlab_yml.rb < settings, a line of JSON a lab (gitlab_rb.rb makes them)
# How each value is written is the package's own way (omnibus-gitlab, templates/default/gitlab.yml.erb and libraries/gitlab_rails.rb):
# some in quotes (String#inspect), some as JSON, most as they are. GitLab reads the file as Rails does: ERB first, then YAML.
require 'erb'
require 'json'
require 'uri'
require 'yaml'

def file(settings)
  rails = settings['gitlab_rails']
  lines = ['gitlab:']
  host = URI(settings['external_url']).host
  lines << "  host: #{host}" << "  ssh_host: #{rails['gitlab_ssh_host'] || host}"
  lines << "  email_enabled: #{rails['gitlab_email_enabled']}"
  %w[email_from email_display_name email_reply_to].each { |key| lines << "  #{key}: #{rails["gitlab_#{key}"]}" }
  lines << "  time_zone: #{rails['time_zone'].inspect}"
  lines << '  trusted_proxies:' << rails['nginx']['real_ip_trusted_addresses'].map { |network| "    - #{network}" }
  lines << 'registry:' << "  host: #{URI(settings['registry_external_url']).host}"
  lines << 'rack_attack:' << "  git_basic_auth: #{rails['rack_attack_git_basic_auth'].to_json}"
  "#{lines.flatten.join("\n")}\n"
end

$stdin.each_line { |line| puts JSON.generate(YAML.load(ERB.new(file(JSON.parse(line))).result)) }
