# A host of a VEO cluster in a container: the node, a Docker Engine of its own, dig, curl.
# `make image` builds it, `docker-compose.yml` runs it; it has to be privileged.
ARG BASE=debian:stable-slim
FROM $BASE

# What changes least comes first: packages, then what Python needs, then VEO itself.
# Of containerd's package only the daemon and the newest shim are of use to Docker.
RUN apt-get update -qq \
    && cli=$(apt-cache show docker-cli >/dev/null 2>&1 && echo docker-cli || true) \
    && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        bind9-dnsutils ca-certificates curl docker.io $cli iproute2 iptables mount \
        python3-venv s6 xz-utils \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /usr/share/doc/* /usr/share/man/* /usr/share/locale/* \
        /usr/bin/ctr /usr/bin/containerd-stress /usr/bin/containerd-shim \
        /usr/bin/containerd-shim-runc-v1

WORKDIR /opt/veo
COPY setup.cfg .
RUN python3 -c 'import configparser; c = configparser.ConfigParser(); c.read("setup.cfg"); print(c["options"]["install_requires"])' >requirements.txt \
    && python3 -m venv . \
    && bin/pip install --no-cache-dir --disable-pip-version-check --only-binary :all: -r requirements.txt \
    && bin/pip uninstall -q -y pip \
    && echo /opt/veo >"$(echo lib/python3*/site-packages)/veo.pth" \
    && printf '#!/opt/veo/bin/python\nimport sys\nfrom veo_shell.cli import main\nsys.exit(main())\n' >/usr/local/bin/veo \
    && chmod 755 /usr/local/bin/veo

COPY deploy/image /usr/local/lib/veo
COPY veo_shell veo_shell
RUN bin/python -m compileall -q veo_shell

WORKDIR /
VOLUME ["/var/lib/docker", "/var/lib/veo"]
# s6 as process 1: it takes in orphans, as the shims of a killed engine become, starts
# again what dies, and is made of parts of which none is larger than it has to be. tini
# starts nothing again; supervisor is a Python program that holds 25 MB for the same.
ENTRYPOINT ["/usr/local/lib/veo/init"]
