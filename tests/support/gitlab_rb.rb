# Evaluates each gitlab.rb as GitLab's package would, and prints what it set as JSON, a line a file.
# Usage: ruby gitlab_rb.rb sections.txt gitlab.rb …
# A section that GitLab does not know raises, as it does there; keys are for the caller to check.
require 'json'

SECTIONS = File.readlines(ARGV.shift, chomp: true).reject(&:empty?)

# A hash that makes the hashes on the way to a key, as the package's ConfigMash does while it reads the file.
class Settings < Hash
  def initialize
    super { |hash, key| hash[key] = Settings.new }
  end

  def []=(key, value)
    super(key.to_s, value)
  end

  def [](key)
    super(key.to_s)
  end
end

class Recorder
  attr_reader :recorded

  def initialize
    @recorded = Settings.new
  end

  def method_missing(name, *arguments)
    raise NoMethodError, "GitLab knows no section #{name}" unless SECTIONS.include?(name.to_s)

    arguments.empty? ? @recorded[name] : @recorded[name] = arguments.first
  end

  def respond_to_missing?(name, _all = false)
    SECTIONS.include?(name.to_s)
  end
end

ARGV.each do |file|
  recorder = Recorder.new
  recorder.instance_eval(File.read(file, encoding: 'UTF-8'), file)
  puts JSON.generate(recorder.recorded)
end
