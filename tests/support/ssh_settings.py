"""An SSH configuration that hands all that it can to every machine."""

# What an owner's own ~/.ssh/config may give to every machine.
EVERYTHING = """\
Host *
  ForwardAgent yes
  ForwardX11 yes
  ForwardX11Trusted yes
  LocalForward 127.0.0.1:9 127.0.0.1:9
  RemoteForward 127.0.0.1:0 127.0.0.1:9
  DynamicForward 127.0.0.1:9
  Tunnel yes
  RequestTTY force
  RemoteCommand cat /etc/passwd
  PermitLocalCommand yes
  LocalCommand echo started-on-this-machine
  GSSAPIDelegateCredentials yes
"""
