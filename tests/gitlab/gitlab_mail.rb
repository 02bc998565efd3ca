# Sends a mail as GitLab does, and prints nothing; an error of the mail server or of TLS ends it with that message.
# Usage: ruby gitlab_mail.rb FROM TO < settings, the gitlab_rails section as JSON
# The package prints the settings as Ruby literals (omnibus-gitlab, templates/default/smtp_settings.rb.erb); GitLab's way of using them
# is its config/initializers/mail_starttls_patch.rb and the gem mail 2.8 (Mail::SMTP#ssl_context). Both are Ruby's own Net::SMTP below.
require 'json'
require 'net/smtp'

# STDIN is the gitlab_rails section.
rails = JSON.parse($stdin.read)
PRINTED = %w[address port domain enable_starttls_auto tls ssl openssl_verify_mode ca_path ca_file open_timeout read_timeout user_name password].freeze
literals = PRINTED.reject { |key| rails["smtp_#{key}"].nil? }.map { |key| "#{key}: #{rails["smtp_#{key}"].inspect}" }
settings = eval("{ #{literals.join(', ')} }") # rubocop:disable Security/Eval
settings[:authentication] = rails['smtp_authentication']&.to_sym

context = Net::SMTP.default_ssl_context
context.verify_mode = OpenSSL::SSL.const_get("VERIFY_#{settings[:openssl_verify_mode].upcase}") if settings[:openssl_verify_mode]
context.ca_path = settings[:ca_path] if settings[:ca_path]
context.ca_file = settings[:ca_file] if settings[:ca_file]

raise ArgumentError, ':enable_starttls and :tls are mutually exclusive' if settings[:tls] && settings[:enable_starttls_auto]

smtp = Net::SMTP.new(settings[:address], settings[:port])
if settings[:tls]
  smtp.disable_starttls
  smtp.enable_tls(context)
else
  smtp.disable_tls
  settings[:enable_starttls_auto] == false ? smtp.disable_starttls : smtp.enable_starttls_auto(context)
end
begin
  smtp.start(settings[:domain], settings[:user_name], settings[:password], settings[:authentication]) do |session|
    session.send_message("Subject: Mail from the lab\r\n\r\nIt works.\r\n", *ARGV)
  end
rescue StandardError => e
  abort("#{e.class}: #{e.message}")
end
