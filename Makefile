# Every target sets up all that it needs: a venv, the dependencies and, where none
# answers and we are root, a Docker Engine. What the targets do is in scripts/.
python := .venv/bin/python
with_engine := $(python) -m scripts.engine run

.PHONY: help demo start stop image multiple three load down test compat fuzz check bench soak mutants pictures
.NOTPARALLEL:

help:
	@echo 'make demo    a cluster of two nodes on this machine, shown step by step'
	@echo 'make start   one node and its console; the node stays until: make stop'
	@echo 'make multiple two hosts that are containers, an engine in each (make three: three)'
	@echo 'make load    copies an image to their engines: make load IMAGE=nginx'
	@echo 'make down    ends them; what they know stays'
	@echo 'make image   builds the image that they are made of'
	@echo 'make test    every test (ARGS="tests/core -k zone" for some)'
	@echo 'make compat  DNS with resolvers and secondaries of others (also in ARGS="-k knot")'
	@echo 'make fuzz    any bytes to DNS, found by a fuzzer, for SECONDS=60 each'
	@echo 'make soak    simulated clusters for MINUTES=10, then 12 minutes on real hosts'
	@echo 'make mutants does the simulation catch faults planted in the core?'
	@echo 'make pictures the pictures of the docs, from real sessions'
	@echo 'make check   format, lint, types, layering'
	@echo 'make bench   figures beside plain Docker and Swarm (ARGS="cable" for some)'

demo:
	@scripts/venv
	@scripts/need dig curl
	@$(with_engine) $(python) -m scripts.demo

pictures:
	@scripts/venv
	@scripts/need tmux dig curl
	@$(with_engine) $(python) -m scripts.screenshots

start:
	@scripts/venv
	@scripts/start

stop:
	@scripts/stop

image:
	@scripts/venv
	@$(with_engine) scripts/image

multiple:
	@scripts/venv
	@scripts/multiple

three:
	@scripts/venv
	@scripts/multiple three

load:
	@scripts/venv
	@scripts/load $(IMAGE)

down:
	@scripts/venv
	@scripts/down

test:
	@scripts/venv dev
	@scripts/test $(ARGS)

compat:
	@scripts/venv dev
	@scripts/compat $(ARGS)

fuzz:
	@scripts/venv dev
	@scripts/fuzz $(or $(SECONDS),60)

check:
	@scripts/venv dev
	@scripts/check

bench:
	@scripts/venv dev
	@[ "$$(id -u)" != 0 ] || scripts/need dockerd ip iptables nsenter
	@scripts/need dig curl
	@$(with_engine) $(python) -m bench.run $(ARGS)

soak:
	@scripts/venv dev
	@$(python) -m scripts.soak $(or $(MINUTES),10)
	@[ "$$(id -u)" != 0 ] || scripts/need dockerd ip iptables nsenter dig curl
	@[ "$$(id -u)" != 0 ] || $(python) -m scripts.soak_hosts

mutants:
	@scripts/venv dev
	@$(python) -m scripts.mutants $(ARGS)
