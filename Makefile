# pam-onetime: build, try, test, install. `make help` lists the targets.

PREFIX  ?= /usr/local
DESTDIR ?=
SYSCONFDIR ?= /etc
MANDIR  ?= $(PREFIX)/share/man
# Some distributions have no sbin any more.
SBINDIR ?= $(PREFIX)/sbin
# Where this system's libpam looks for modules: beside pam_unix.so.
PAMDIR  ?= $(shell d=$$(ls -d /usr/lib/*/security /lib/*/security /usr/lib64/security /lib64/security /usr/lib/security /lib/security 2>/dev/null | while read -r d; do [ -e "$$d/pam_unix.so" ] && echo "$$d" && break; done); echo "$${d:-/usr/lib/security}")

# What users run.
BINDIR   = $(PREFIX)/bin
DOCDIR   = $(PREFIX)/share/doc/pam-onetime
# What polkit's sandboxed helper needs. systemd looks below /usr/local, too.
DROPINDIR = $(PREFIX)/lib/systemd/system/polkit-agent-helper@.service.d
# onetimed's units.
UNITDIR  = $(PREFIX)/lib/systemd/system
# fish looks below /usr/share and /etc, and not below /usr/local.
FISHDIR ?= $(if $(filter /usr,$(PREFIX)),/usr/share/fish/vendor_completions.d,$(SYSCONFDIR)/fish/completions)
ZSHDIR  ?= $(PREFIX)/share/zsh/site-functions
# Where each shell looks for completions, and by which name.
COMPLETIONS = $(foreach program,onetimectl onetimed onetime,\
	$(PREFIX)/share/bash-completion/completions:$(program) \
	$(ZSHDIR):_$(program) $(FISHDIR):$(program).fish)

# Other programs for which there are files in packaging: filters of logs, a part of profiles.
# A package brings them all. On a machine itself, those whose programs are there.
INTEGRATIONS ?= $(foreach program,fail2ban logcheck apparmor,$(if \
	$(or $(DESTDIR),$(wildcard $(SYSCONFDIR)/$(FOLDER_$(program)))),$(program)))
FOLDER_fail2ban = fail2ban
FILES_fail2ban  = filter.d/pam-onetime.conf jail.d/pam-onetime.conf
FOLDER_logcheck = logcheck
FILES_logcheck  = ignore.d.server/pam-onetime
FOLDER_apparmor = apparmor.d
FILES_apparmor  = abstractions/onetime
# Below packaging, and where each goes.
INTEGRATED = $(foreach program,$(INTEGRATIONS),$(foreach file,$(FILES_$(program)),\
	$(program)/$(file):$(SYSCONFDIR)/$(FOLDER_$(program))/$(file)))

CARGO   ?= cargo
INSTALL ?= install
# Where cargo builds, and nowhere else: a TARGET of the environment, where compilers for other
# systems have their name, says nothing of it. (packaging/release is told so of another place.)
TARGET   = $(or $(CARGO_TARGET_DIR),target)
DIST    ?= $(TARGET)/dist

# What Debian and Ubuntu call what is needed. `rust` means a toolchain that is new
# enough (packaging/install-packages).
BUILD_PACKAGES    = rust gcc libc6-dev libpam0g-dev
TEST_PACKAGES     = pamtester oathtool zbar-tools openssh-server openssh-client \
                    sudo login util-linux bsdutils mount strace mandoc binutils \
                    libpam-google-authenticator libpam-oath pskctool python3-pskc e2fsprogs python3 \
                    libnss-extrausers bash-completion zsh fish qrencode \
                    zxing-cpp-tools xvfb xterm fonts-dejavu-core libjpeg-turbo-progs time git systemd
CAMPAIGN_PACKAGES = valgrind g++ debootstrap debian-archive-keyring xfsprogs btrfs-progs faketime \
                    python3-venv gpg gpg-agent xz-utils rpm rpmlint makepkg \
                    pacman-package-manager libarchive-tools fakeroot debhelper
PACKAGE_PACKAGES  = debhelper dpkg-dev lintian

# What cargo installs for the campaigns, and in which version it is known to work.
CARGO_TOOLS = cargo-deny@0.20.2 cargo-fuzz@0.13.2 cargo-mutants@27.1.0

# The tests without the campaigns.
TESTS = --lib --bins --test it --test story

# This platform in the names of cargo's variables.
PLATFORM = $(shell rustc -vV | sed -n 's/^host: //p' | tr a-z- A-Z_)

# Tests log in as several users and mount file systems: they run as root.
AS_ROOT = $(if $(filter 0,$(shell id -u)),,CARGO_TARGET_$(PLATFORM)_RUNNER='sudo -E')

# RUSTFLAGS, which some distributions set, would replace the module's own flags
# (.cargo/config.toml). In this way they are added.
ADDED_FLAGS = $(if $(RUSTFLAGS),env -u RUSTFLAGS CARGO_TARGET_$(PLATFORM)_RUSTFLAGS='$(RUSTFLAGS)')

# A wrapper that is set, as sccache, would replace packaging/rustc, and paths of this machine
# would be in what is built. In this way both are called. Set to nothing, it would be in its
# place too. `override`: also one among make's arguments.
WRAPPER := $(or $(RUSTC_WRAPPER),$(CARGO_BUILD_RUSTC_WRAPPER))
unexport CARGO_BUILD_RUSTC_WRAPPER
ifeq ($(WRAPPER),)
unexport RUSTC_WRAPPER
else ifeq ($(filter %/packaging/rustc,$(WRAPPER)),)
override export NEXT_RUSTC_WRAPPER := $(WRAPPER)
override export RUSTC_WRAPPER := $(CURDIR)/packaging/rustc
endif

.PHONY: all module tool help deps test-deps campaign-deps cargo-tools fetch prebuild test lint \
	campaigns callers test-ansible lint-fuzz promises reliability bench drawings demo demo-interactive \
	deb test-packages test-debian dist sbom release release-notes security-insights copyright install uninstall clean

all: module tool ## build the module, the tool and the daemon

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

module: ## build pam_onetime.so
	$(ADDED_FLAGS) $(CARGO) module --locked

tool: ## build onetimectl, onetimed and onetime
	$(CARGO) build --locked --release --bin onetimectl --bin onetimed --bin onetime

deps: ## install what building needs (Debian, Ubuntu)
	@CARGO=$(CARGO) sh packaging/install-packages $(BUILD_PACKAGES)

test-deps: ## install what demo and tests need (Debian, Ubuntu)
	@CARGO=$(CARGO) sh packaging/install-packages $(BUILD_PACKAGES) $(TEST_PACKAGES)

campaign-deps: ## install what the campaigns need (Debian, Ubuntu)
	@CARGO=$(CARGO) sh packaging/install-packages $(BUILD_PACKAGES) $(TEST_PACKAGES) $(CAMPAIGN_PACKAGES)

cargo-tools: campaign-deps ## install what the campaigns need of cargo's
	@CARGO=$(CARGO) sh packaging/install-cargo-tools $(CARGO_TOOLS)

# The crates of every platform: what reads a whole lock file offline wants them all.
fetch: test-deps ## download the crates, of the package and of the fuzz targets
	$(CARGO) fetch --locked
	$(CARGO) fetch --locked --manifest-path fuzz/Cargo.toml

# What the tests start is built before them, so that no test waits for a compiler.
prebuild: test-deps
	sh packaging/fetch-foreign $(TARGET)/foreign
	$(CARGO) module --locked
	$(CARGO) build --locked --examples

test: lint prebuild ## run every test but the campaigns, and every lint
	$(AS_ROOT) $(CARGO) test --locked --no-fail-fast $(TESTS)

# Where cargo has no rustfmt or no clippy, the tests still run: packaging/lint says so.
lint: test-deps ## rustfmt, clippy, man pages
	@CARGO=$(CARGO) sh packaging/lint fmt --check
	@CARGO=$(CARGO) sh packaging/lint fmt --check --manifest-path fuzz/Cargo.toml
	@CARGO=$(CARGO) sh packaging/lint clippy --locked --all-targets -- -D warnings
	@CARGO=$(CARGO) sh packaging/lint clippy --locked --lib --no-default-features -- -D warnings
	mandoc -T lint -W warning docs/*.[158]

# Campaigns about what is packaged, units among it, and about pictures, which fetch much or take long:
# test-packages runs them.
APART = ansible confined daemon others_packages pictures release

campaigns: campaign-deps cargo-tools fetch prebuild lint-fuzz ## run each campaign against adversity in its short form (CAMPAIGN=killed: one of them)
	$(AS_ROOT) $(CARGO) test --locked --no-fail-fast --test adversity -- \
		$(or $(CAMPAIGN),$(foreach apart,$(APART),--skip $(apart)::))

# With a program or a suite in CALLER: those; with CALLER=page: only the page.
callers: campaign-deps fetch prebuild ## run the programs that log people in, each in a Debian of its own, and write docs/CALLERS.md (CALLER=NAME: some)
	$(AS_ROOT) $(CARGO) test --locked --test callers -- $(CALLER)

test-ansible: ## run the Ansible collection with a real ansible-core, in worlds of its own
	@$(MAKE) --no-print-directory campaigns CAMPAIGN=ansible

# A linter links nothing: it can do without a libFuzzer, which takes long to compile.
lint-fuzz: campaign-deps fetch
	@CARGO=$(CARGO) CUSTOM_LIBFUZZER_PATH=/nonexistent/libfuzzer.a RUSTFLAGS='--cfg fuzzing' sh packaging/lint clippy --locked --manifest-path fuzz/Cargo.toml --target-dir $(TARGET)/fuzz -- -D warnings

promises: deps ## check the documentation, the oldest Rust, aarch64 and, by Miri, the core
	@CARGO=$(CARGO) TARGET=$(TARGET) sh packaging/check-promises

reliability: campaign-deps cargo-tools fetch prebuild ## run the long campaigns, and write docs/RELIABILITY.md (CAMPAIGN=killed: one of them)
	ONETIME_CAMPAIGN=long $(AS_ROOT) $(CARGO) test --locked --test adversity -- --test-threads=1 --nocapture $(CAMPAIGN)

# What was measured already is not measured again: FRESH=1 begins anew.
bench: campaign-deps ## measure beside pam_google_authenticator, pam_oath and an older build, and write BENCHMARKS.md (PART="login tool": parts; QUICK=1: a look; BEFORE=COMMIT|FILE.so|none; LONG=1: a million accounts; FRESH=1)
	$(AS_ROOT) $(CARGO) bench --locked --bench side_by_side -- $(PART) $(if $(BEFORE),before=$(BEFORE)) $(if $(QUICK),quick) $(if $(LONG),long) $(if $(FRESH),fresh)

dist: ## write the source of a release, with its crates, to DIST (SIGN_KEY=KEY: sign it)
	@CARGO=$(CARGO) sh packaging/dist $(DIST)

release: ## write all that is published of a release to DIST (TAG=vVERSION; SIGN_KEY=KEY: sign it)
	@CARGO=$(CARGO) MAKE=$(MAKE) TARGET=$(TARGET) sh packaging/release "$(DIST)" "$(TAG)"

release-notes: ## print what CHANGELOG.md says of VERSION (that of Cargo.toml)
	@sh packaging/release-notes "$(VERSION)"

security-insights: ## write SECURITY-INSIGHTS.yml (REPOSITORY=https://HOST/OWNER/NAME: the page of the repository)
	@sh packaging/security-insights "$(REPOSITORY)" >SECURITY-INSIGHTS.yml.new
	mv SECURITY-INSIGHTS.yml.new SECURITY-INSIGHTS.yml

sbom: ## write bills of materials (CycloneDX) of the module and of the tool to DIST
	mkdir -p $(DIST)
	python3 packaging/make-sbom module >$(DIST)/pam_onetime.so.cdx.json
	python3 packaging/make-sbom tool >$(DIST)/onetimectl.cdx.json

copyright: ## write packaging/debian/copyright from what cargo knows of the crates
	python3 packaging/make-copyright >packaging/debian/copyright.new
	mv packaging/debian/copyright.new packaging/debian/copyright

drawings: ## make the drawings of docs/ARCHITECTURE.md again
	python3 docs/drawings/draw.py

demo: test-deps ## play the whole story and print it, in a world of its own
	$(AS_ROOT) $(CARGO) test --locked --test story -- --tell

demo-interactive: test-deps ## play the story with your own phone
	$(AS_ROOT) $(CARGO) test --locked --test story -- --interactive

deb: ## build the package for Debian and Ubuntu, and look at it with lintian
	@packaging/debian/build "$(TARGET)" can
	@CARGO=$(CARGO) sh packaging/install-packages $(BUILD_PACKAGES) $(PACKAGE_PACKAGES)
	$(CARGO) fetch --locked
	CARGO=$(CARGO) packaging/debian/build "$(TARGET)"
	lintian --fail-on error,warning $(TARGET)/deb/*.changes

# Its parts, and how long each has taken.
test-packages: ## run what takes long about packages, and say how long (tens of minutes; PART=debian: one of them)
	@for part in $(or $(PART),debian $(APART)); do \
		begin=$$(date +%s); \
		case $$part in \
			debian) $(MAKE) --no-print-directory test-debian ;; \
			*) $(MAKE) --no-print-directory campaigns CAMPAIGN=$$part:: ;; \
		esac || exit 1; \
		echo "test-packages: $$part has taken $$(($$(date +%s) - begin)) s"; \
	done

test-debian: test-deps deb ## install, use, upgrade and remove the package in whole Debian systems
	@CARGO=$(CARGO) sh packaging/install-packages debootstrap debian-archive-keyring
	$(AS_ROOT) $(CARGO) test --locked --test packages

# An existing configuration is kept. Modes are ours, whatever the umask; directories that
# are there already keep theirs.
install: ## install (DESTDIR, PREFIX, SBINDIR, PAMDIR, SYSCONFDIR, ZSHDIR, FISHDIR, INTEGRATIONS)
	@test -e $(TARGET)/module/libpam_onetime.so -a -e $(TARGET)/release/onetimectl \
		-a -e $(TARGET)/release/onetimed -a -e $(TARGET)/release/onetime || \
		{ echo "nothing is built: run make first (as yourself), then make install (as root)" >&2; exit 1; }
	umask 022; for dir in $(PAMDIR) $(SBINDIR) $(BINDIR) $(MANDIR)/man1 $(MANDIR)/man5 $(MANDIR)/man8 \
		$(SYSCONFDIR)/onetime $(SYSCONFDIR)/pam.d $(DOCDIR)/pam.d $(DOCDIR)/pam-configs \
		$(DROPINDIR) \
		$(COMPLETIONS); do \
		test -d $(DESTDIR)$${dir%:*} || $(INSTALL) -d -m 755 $(DESTDIR)$${dir%:*} || exit 1; \
	done
	$(INSTALL) -m 644 $(TARGET)/module/libpam_onetime.so $(DESTDIR)$(PAMDIR)/pam_onetime.so
	$(INSTALL) -m 644 docs/onetime.1 $(DESTDIR)$(MANDIR)/man1/
	$(INSTALL) -m 644 docs/onetime.toml.5 $(DESTDIR)$(MANDIR)/man5/
	$(INSTALL) -m 644 docs/pam_onetime.8 docs/onetimectl.8 docs/onetimed.8 $(DESTDIR)$(MANDIR)/man8/
	$(INSTALL) -m 644 README.md CHANGELOG.md SECURITY.md docs/FILEFORMAT.md LICENSE LICENSE-MIT \
		LICENSE-APACHE $(DESTDIR)$(DOCDIR)/
	$(INSTALL) -m 644 conf/pam.d/* $(DESTDIR)$(DOCDIR)/pam.d/
	$(INSTALL) -m 644 conf/pam-configs/* $(DESTDIR)$(DOCDIR)/pam-configs/
	$(INSTALL) -m 644 packaging/systemd/polkit-agent-helper@.service.d/* $(DESTDIR)$(DROPINDIR)/
	$(INSTALL) -m 755 $(TARGET)/release/onetimed $(DESTDIR)$(SBINDIR)/onetimed
	$(INSTALL) -m 755 $(TARGET)/release/onetime $(DESTDIR)$(BINDIR)/onetime
	$(INSTALL) -m 644 packaging/systemd/onetimed.socket $(DESTDIR)$(UNITDIR)/
	umask 022; sed 's|^ExecStart=/usr/sbin/|ExecStart=$(SBINDIR)/|' packaging/systemd/onetimed.service \
		> $(DESTDIR)$(UNITDIR)/onetimed.service && chmod 644 $(DESTDIR)$(UNITDIR)/onetimed.service
	umask 022; for place in $(COMPLETIONS); do \
		name=$${place#*:}; file=$(DESTDIR)$${place%:*}/$$name; \
		case $$name in \
			*.fish) shell=fish program=$${name%.fish} ;; \
			_*) shell=zsh program=$${name#_} ;; \
			*) shell=bash program=$$name ;; \
		esac; \
		case $$program in onetimed) print=--completions ;; *) print=completions ;; esac; \
		$(TARGET)/release/$$program $$print $$shell > $$file && chmod 644 $$file || exit 1; \
	done
	test -e $(DESTDIR)$(SYSCONFDIR)/onetime/onetime.toml || \
		$(INSTALL) -m 644 conf/onetime.toml $(DESTDIR)$(SYSCONFDIR)/onetime/onetime.toml
	test -e $(DESTDIR)$(SYSCONFDIR)/pam.d/onetime-password || \
		$(INSTALL) -m 644 conf/pam.d/onetime-password $(DESTDIR)$(SYSCONFDIR)/pam.d/onetime-password
	@# Each of these programs has a place for what admins change (jail.local, local rules,
	@# onetime.d), but for the jail.
	umask 022; for place in $(INTEGRATED); do \
		file=$(DESTDIR)$${place#*:}; test -d $${file%/*} || $(INSTALL) -d -m 755 $${file%/*} || exit 1; \
		case $$file in */jail.d/*) test ! -e $$file || continue ;; esac; \
		$(INSTALL) -m 644 packaging/$${place%%:*} $$file || exit 1; \
	done
	@# In a package's staging directory there is no store: the package's script runs init. Where
	@# the tool is there already, there is a store, which need not be mounted: no other is made.
	existing=; if [ -e $(DESTDIR)$(SBINDIR)/onetimectl ]; then existing=--existing; fi; \
	$(INSTALL) -m 755 $(TARGET)/release/onetimectl $(DESTDIR)$(SBINDIR)/onetimectl && \
	if [ -z "$(DESTDIR)" ]; then $(SBINDIR)/onetimectl init $$existing; fi

uninstall: ## remove what install has put there, unless a PAM service uses it; configuration and store stay
	@sh packaging/check-unused "$(DESTDIR)" "$(SYSCONFDIR)"
	rm -f $(DESTDIR)$(PAMDIR)/pam_onetime.so $(DESTDIR)$(SBINDIR)/onetimectl \
		$(DESTDIR)$(MANDIR)/man5/onetime.toml.5 $(DESTDIR)$(MANDIR)/man8/pam_onetime.8 \
		$(DESTDIR)$(MANDIR)/man8/onetimectl.8 $(DESTDIR)$(MANDIR)/man8/onetimed.8 \
		$(DESTDIR)$(SBINDIR)/onetimed $(DESTDIR)$(UNITDIR)/onetimed.socket \
		$(DESTDIR)$(BINDIR)/onetime $(DESTDIR)$(MANDIR)/man1/onetime.1 \
		$(DESTDIR)$(UNITDIR)/onetimed.service \
		$(foreach place,$(COMPLETIONS),$(DESTDIR)$(subst :,/,$(place)))
	rm -rf $(DESTDIR)$(DOCDIR)
	rm -f $(DESTDIR)$(DROPINDIR)/pam_onetime.conf
	rmdir $(DESTDIR)$(DROPINDIR) 2>/dev/null || true

clean: ## remove what was built
	$(CARGO) clean
