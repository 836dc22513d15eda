# What a person does here; each target is a script in scripts/ that says at its top what it does.

# Where `make install` puts things; DESTDIR goes in front, for packagers.
PREFIX = /usr/local
DESTDIR =

.PHONY: help build demo test test-kvm lab lint install soak judge judge-guests bench

help:
	@sed -n 's/^\(# \)\(make [a-z-]*:.*\)/\2/p' Makefile

# make build:   build the program, target/x86_64-unknown-linux-gnu/release/cenote
build:
	@scripts/build

# make demo:    from a fresh Debian 12 to a container in a virtual machine (YES=1 does not ask)
demo:
	@YES='$(YES)' scripts/demo

# make test:    install what the tests need, and run all of them
test:
	@scripts/test

# make test-kvm: a user's sessions with machines on KVM, on an emulated processor where there is none
test-kvm:
	@scripts/test-kvm

# make lab:     a shell in a container that runs others on KVM, with this build inside (IMAGE=busybox)
lab:
	@IMAGE='$(IMAGE)' scripts/lab

# make lint:    formatting and clippy
lint:
	@scripts/lint

# make install: the program, its manual pages and completions, below DESTDIR and PREFIX
install:
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' scripts/install

# make soak:    many lives and sudden deaths of sandboxes; takes a quarter of an hour or more
soak:
	@scripts/soak

# make judge:   other programs' verdict on the file server: pjdfstest, fsx, stress-ng; takes half an hour
judge:
	@scripts/judge-shares

# make judge-guests: the same from inside of containers, with databases and many machines; takes an hour and more
judge-guests:
	@scripts/judge-guests

# make bench:   the figures that the documents quote, each from a program in bench/
bench:
	@scripts/bench
