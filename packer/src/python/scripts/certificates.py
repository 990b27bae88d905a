"""Points OpenSSL at this machine's certificates.

Imported at start when the places that are compiled into the packaged OpenSSL do not exist here.
"""

import os

for _file in (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch, Gentoo
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/var/lib/ca-certificates/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # Alpine, FreeBSD, macOS
    "/usr/local/etc/ssl/cert.pem",  # FreeBSD
    "/usr/local/share/certs/ca-root-nss.crt",  # FreeBSD
    "/run/current-system/profile/etc/ssl/certs/ca-certificates.crt",  # Guix
):
    if os.path.isfile(_file):
        os.environ["SSL_CERT_FILE"] = _file
        break
else:
    for _directory in ("/etc/ssl/certs", "/etc/pki/tls/certs", "/system/etc/security/cacerts"):
        if os.path.isdir(_directory):
            os.environ["SSL_CERT_DIR"] = _directory
            break
