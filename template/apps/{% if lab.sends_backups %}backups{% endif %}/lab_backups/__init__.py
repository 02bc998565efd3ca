"""GitLab's backups at another place: encrypted, sent, listed, looked at, removed.

It needs Python, OpenSSL's library and rclone.
"""
