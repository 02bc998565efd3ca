# What GitLab's next image says of its next settings, before anything of the running GitLab changes. It runs in that image, in a
# pod of its own, with GitLab's environment and without GitLab's volumes. Each fault ends it with 1, and Flux then leaves GitLab
# as it is. It cannot see what depends on GitLab's data, such as a database that does not migrate.
require 'json'
require 'net/http'
require 'open3'
require 'openssl'

SETTINGS = '/etc/gitlab-lab/gitlab.rb'.freeze
MANIFEST = '/opt/gitlab/version-manifest.txt'.freeze
ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount'.freeze
UPGRADES = 'https://docs.gitlab.com/update/upgrade_paths/'.freeze
# The minor versions at which each upgrade has to stop, in every major version.
STOPS = [2, 5, 8, 11].freeze
TRIES = 5

def stop(text)
  warn text
  exit 1
end

# Ruby's own words on what it cannot read, or nil.
def syntax_problem
  RubyVM::InstructionSequence.compile(File.read(SETTINGS, encoding: 'UTF-8'), 'gitlab.rb', SETTINGS)
  nil
rescue SyntaxError => e
  "gitlab.rb is no Ruby:\n#{e.message.lines.first(12).join}"
end

# The version in this image; the same line that GitLab's own start reads.
def version_of_image
  stop("#{MANIFEST} is missing: is this an image of GitLab?") unless File.exist?(MANIFEST)
  line = File.foreach(MANIFEST).find { |one| one.match?(/\Agitlab-(ce|ee|jh) /) }
  line.to_s.split.last || stop("#{MANIFEST} names no version of GitLab.")
end

# What the cluster answers for GitLab's Deployment, or nil if there is none yet.
def deployment
  namespace = File.read("#{ACCOUNT}/namespace")
  request = Net::HTTP::Get.new(
    "/apis/apps/v1/namespaces/#{namespace}/deployments/gitlab", 'Authorization' => "Bearer #{File.read("#{ACCOUNT}/token")}"
  )
  server = ENV.values_at('KUBERNETES_SERVICE_HOST', 'KUBERNETES_SERVICE_PORT')
  options = { use_ssl: true, ca_file: "#{ACCOUNT}/ca.crt", open_timeout: 10, read_timeout: 10 }
  # No proxy of the environment leads to the cluster's own API.
  answer = Net::HTTP.start(*server, nil, **options) { |http| http.request(request) }
  return nil if answer.code == '404'
  raise IOError, "it answers #{answer.code}" unless answer.code == '200'

  JSON.parse(answer.body)
end

# The version of GitLab that runs, or nil if none does.
def version_that_runs
  tries = 0
  begin
    containers = deployment&.dig('spec', 'template', 'spec', 'containers') || []
    containers.filter_map { |one| one['image'][/gitlab-ce:(\d+\.\d+\.\d+)/, 1] }.first
  rescue SystemCallError, SocketError, IOError, Timeout::Error, OpenSSL::SSL::SSLError => e
    tries += 1
    stop "The cluster does not say which version of GitLab runs: #{e.message}" if tries == TRIES
    sleep 2
    retry
  end
end

def numbers(version)
  version.scan(/\d+/).first(3).map(&:to_i)
end

# Why GitLab cannot go from one version to the other in one step, or nil.
def upgrade_problem(old, new)
  from = numbers(old)
  to = numbers(new)
  return "GitLab #{old} runs, and cannot go back to #{new}: its database has moved on." if (to <=> from).negative?

  stops = (from[0]..to[0]).flat_map { |major| STOPS.map { |minor| [major, minor] } }
  stops = stops.select { |stop| (stop <=> from.first(2)).positive? && (stop <=> to.first(2)).negative? }
  return if stops.empty?

  "GitLab cannot go from #{old} to #{new} in one step. " \
    "It has to stop at the newest #{stops.map { |stop| stop.join('.') }.join(', then ')} on the way: #{UPGRADES}"
end

# Whether a program of GitLab's ends well: nil, or what it said. Nothing that looks like a secret is in it.
def problem_of(*command)
  said, status = Open3.capture2e(*command)
  return if status.success?

  secrets = ENV.select { |name, _| name.match?(/PASSWORD|SECRET|TOKEN|KEY|URL/) }.values.reject { |value| value.length < 4 }
  said = secrets.reduce(said.scrub) { |text, secret| text.gsub(secret, '...') }
  lines = said.lines.reject { |line| line.strip.empty? }
  told = lines.grep(/FATAL|ERROR|Error|[Rr]emoved|[Dd]eprecat|gitlab\.rb|required|upgrading|\A\* /)
  (told.empty? ? lines : told).last(15).join
end

def settings_problem
  said = problem_of('/opt/gitlab/bin/gitlab-ctl', 'show-config')
  said && "GitLab refuses gitlab.rb:\n#{said}"
end

problem = syntax_problem
stop(problem) if problem
new = version_of_image
# A rescue has compared the versions already: what the Deployment names may never have run.
old = version_that_runs unless ENV['LAB_CHECK_VERSIONS'] == 'no'
if old
  problem = upgrade_problem(old, new) || problem_of('/opt/gitlab/bin/gitlab-ctl', 'upgrade-check', old, new)
  stop(problem) if problem
end
problem = settings_problem
stop(problem) if problem
puts "GitLab #{new} takes gitlab.rb#{", and can follow #{old}" if old}."
