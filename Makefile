# wg-mesh: one non-recursive GNU Makefile. Everything is built under build/$(MODE)/.
# `make help` lists the targets; V=1 shows every command.

VERSION := 0.1.0
MODE    ?= release

# The packager's
CC         ?= cc
AR         ?= ar
PKG_CONFIG ?= pkg-config
CFLAGS     ?= -O2 -g
LDFLAGS    ?=
PREFIX     ?= /usr
BINDIR     ?= $(PREFIX)/bin
SBINDIR    ?= $(PREFIX)/sbin
LIBDIR     ?= $(PREFIX)/lib
PLUGINDIR  ?= $(LIBDIR)/wg-mesh/plugins
INCLUDEDIR ?= $(PREFIX)/include
DATADIR    ?= $(PREFIX)/share
MANDIR     ?= $(DATADIR)/man
UNITDIR    ?= $(LIBDIR)/systemd/system
TMPFILESDIR ?= $(LIBDIR)/tmpfiles.d
PKGCONFIGDIR ?= $(LIBDIR)/pkgconfig
SYSCONFDIR ?= /etc/wg-mesh
STATEDIR   ?= /var/lib/wg-mesh
RUNDIR     ?= /run/wg-mesh
DESTDIR    ?=

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:

B := build/$(MODE)
Q := $(if $(V),,@)

# ---- flags -------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wshadow -Wvla -Wformat=2 -Wmissing-prototypes -Wstrict-prototypes \
	-Wpointer-arith -Wwrite-strings -Wundef $(if $(WERROR),-Werror)
PATHS := -DWG_MESH_VERSION='"$(VERSION)"' -DWG_MESH_SYSCONFDIR='"$(SYSCONFDIR)"' \
	-DWG_MESH_STATEDIR='"$(STATEDIR)"' -DWG_MESH_RUNDIR='"$(RUNDIR)"' \
	-DWG_MESH_PLUGINDIR='"$(PLUGINDIR)"' -DWG_MESH_BINDIR='"$(BINDIR)"' -DWG_MESH_SBINDIR='"$(SBINDIR)"'

HARDEN := -fstack-protector-strong -D_FORTIFY_SOURCE=2
MODE_CFLAGS.release  := $(HARDEN)
MODE_CFLAGS.debug    := -O0
MODE_CFLAGS.asan     := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
MODE_CFLAGS.fuzz     := -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
MODE_LDFLAGS.release := -Wl,-z,relro,-z,now -Wl,--gc-sections
MODE_LDFLAGS.asan    := -fsanitize=address,undefined
MODE_LDFLAGS.fuzz    := -fsanitize=address,undefined

ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -fPIC -fvisibility=hidden -ffunction-sections -fdata-sections \
	-I. -Icore -Icore/include -include core/lib/banned.h $(WARNINGS) $(PATHS) \
	$(CFLAGS) $(MODE_CFLAGS.$(MODE)) $(PKG_CFLAGS) $(PQ_CFLAGS) $(QR_CFLAGS)
ALL_LDFLAGS = $(LDFLAGS) $(MODE_LDFLAGS.$(MODE))

pkg = $(shell $(PKG_CONFIG) --libs $(1) 2>/dev/null)
has = $(shell $(PKG_CONFIG) --exists $(1) 2>/dev/null && echo yes)
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags libmnl libcurl jansson libsodium yaml-0.1 libwslay openssl sqlite3 libjwt 2>/dev/null)

# PostgreSQL is for those who run several coordinators: without its library all else is built.
# LIBPQ=no leaves it out by choice.
LIBPQ ?= $(or $(call has,libpq),no)
PQ_CFLAGS := $(if $(filter yes,$(LIBPQ)),-DHAVE_LIBPQ $(shell $(PKG_CONFIG) --cflags libpq))
PQ_LIBS := $(if $(filter yes,$(LIBPQ)),$(call pkg,libpq))

# The QR code of `peer add`; without its library there is the text alone.
QRENCODE ?= $(or $(call has,libqrencode),no)
QR_CFLAGS := $(if $(filter yes,$(QRENCODE)),-DHAVE_QRENCODE $(shell $(PKG_CONFIG) --cflags libqrencode))
QR_LIBS := $(if $(filter yes,$(QRENCODE)),$(call pkg,libqrencode))

# ---- what there is to build ----------------------------------------------------

LIB_SRC    := $(wildcard core/lib/*.c)
AGENT_SRC  := $(wildcard core/*.c)
CLI_SRC    := $(wildcard core/cli/*.c)
COORD_SRC  := $(wildcard coordinator/*.c coordinator/*/*.c) coordinator/web/files.c
RELAY_SRC  := $(wildcard relay/*.c)
PLUGIN_SRC := $(wildcard plugins/*.c)
TEST_SRC   := $(wildcard tests/unit/test_*.c)
FUZZ_SRC   := $(wildcard tests/fuzz/fuzz_*.c)

# The agent's parts as an archive: the command takes out of it what it needs (undoing the ledger, the
# state), and cannot get what needs an HTTP library, which it is not linked with.
AGENT_PARTS = $B/libagent.a

BASE_LIBS := -lsodium -lev -lm
LDLIBS.wg-meshd            := $(call pkg,libmnl libcurl jansson yaml-0.1) -lwslay $(BASE_LIBS) -ldl -lpthread
LDLIBS.wg-mesh             := $(call pkg,libmnl jansson yaml-0.1) $(BASE_LIBS)
LDLIBS.wg-mesh-coordinator := $(call pkg,openssl sqlite3 libjwt jansson yaml-0.1) $(PQ_LIBS) $(QR_LIBS) -lwslay $(BASE_LIBS) -lpthread
LDLIBS.wg-mesh-relay       := $(call pkg,openssl jansson yaml-0.1) -lwslay $(BASE_LIBS) -lpthread

obj = $(patsubst %.c,$B/%.o,$(1))
LIB := $B/libwgmesh.a
PROGRAMS := $(addprefix $B/,wg-mesh wg-meshd wg-mesh-coordinator wg-mesh-relay)
PLUGINS  := $(patsubst plugins/%.c,$B/plugins/%.so,$(PLUGIN_SRC))
TESTS    := $(patsubst tests/unit/%.c,$B/unit/%,$(TEST_SRC))
FUZZERS  := $(patsubst tests/fuzz/%.c,$B/fuzz/%,$(FUZZ_SRC))

OBJ.wg-meshd            := $(call obj,$(AGENT_SRC))
OBJ.wg-mesh             = $(call obj,$(CLI_SRC)) $(AGENT_PARTS)
OBJ.wg-mesh-coordinator := $(call obj,$(COORD_SRC))
OBJ.wg-mesh-relay       := $(call obj,$(RELAY_SRC))

.PHONY: optional test-programs lint-shell bench compile_commands.json lab-programs all help deps check asan lint format install uninstall dist clean size shape fresh fuzz fuzzers fuzz-replay unit

all: $(PROGRAMS) $(PLUGINS) optional ## build the programs and plugins (MODE=release|debug|asan|fuzz)

optional:
	@$(if $(filter yes,$(LIBPQ)),:,echo "  NOTE    no libpq here: the coordinator is built without PostgreSQL (package libpq-dev)")
	@$(if $(filter yes,$(QRENCODE)),:,echo "  NOTE    no libqrencode here: peer add prints no QR code (package libqrencode-dev)")

help: ## this list
	@awk -F ':.*## ' '/^[a-zA-Z_.-]+:.*## /{printf "  %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(LIB): $(call obj,$(LIB_SRC))
	$Q$(RM) $@ && $(AR) rcs $@ $^

$(AGENT_PARTS): $(call obj,$(filter-out core/main.c,$(AGENT_SRC)))
	$Q$(RM) $@ && $(AR) rcs $@ $^

.SECONDEXPANSION:
$(PROGRAMS): $B/%: $$(OBJ.$$*) $(LIB) $B/flags
	@echo "  LINK    $*"
	$Q$(CC) $(ALL_CFLAGS) -pie $(ALL_LDFLAGS) -o $@ $(OBJ.$*) $(LIB) $(LDLIBS.$*)

$B/plugins/%.so: $B/plugins/%.o $(LIB)
	@echo "  PLUGIN  $*"
	$Q$(CC) $(ALL_CFLAGS) -shared $(if $(filter release debug,$(MODE)),-Wl$(comma)-z$(comma)defs) \
		-Wl,--exclude-libs,ALL $(ALL_LDFLAGS) -o $@ $< $(LIB) $(LDLIBS.plugin.$*) -lsodium
comma := ,

$B/%.o: %.c $B/flags
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC      $<")
	$Q$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# The dashboard: its files as a table in C.
WEB_FILES := $(wildcard $(addprefix coordinator/web/*.,html js css svg))

$B/coordinator/web/files.c: coordinator/web/embed.sh $(WEB_FILES) Makefile
	@mkdir -p $(@D)
	$Qsh coordinator/web/embed.sh $(WEB_FILES) > $@

$B/coordinator/web/files.o: $B/coordinator/web/files.c coordinator/web/web.h $B/flags
	$(if $(V),,@echo "  CC      coordinator/web/files.c")
	$Q$(CC) $(ALL_CFLAGS) -c -o $@ $<

# Rebuild when the flags change; -Werror changes nothing that is built.
FLAGS = $(CC) $(filter-out -Werror,$(ALL_CFLAGS)) $(ALL_LDFLAGS)
.PHONY: FORCE
$B/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(FLAGS)' | cmp -s - $@ || echo '$(FLAGS)' > $@
FORCE:

# ---- tests ---------------------------------------------------------------------
# A unit test is one file. It may include the .c it tests and is linked with the archive, and with
# what its line `OBJ.test_x` names besides.

$B/unit/%: $B/tests/unit/%.o $$(call obj,$$(SRC.$$*)) $(LIB)
	@mkdir -p $(@D)
	@echo "  LINK    unit/$*"
	$Q$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(call obj,$(SRC.$*)) $(LIB) \
		$(call pkg,libmnl libcurl openssl sqlite3 libjwt jansson yaml-0.1 cmocka) $(PQ_LIBS) $(QR_LIBS) -lwslay $(BASE_LIBS) -ldl -lpthread

# Programs of the lab's own, built the same way.
LAB_PROGRAMS := $(patsubst tests/lab/%.c,$B/lab/%,$(wildcard tests/lab/*_test.c))

$B/lab/%: $B/tests/lab/%.o $$(call obj,$$(SRC.$$*)) $(LIB)
	@mkdir -p $(@D)
	@echo "  LINK    lab/$*"
	$Q$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(call obj,$(SRC.$*)) $(LIB) \
		$(call pkg,libmnl) $(BASE_LIBS)

# The load generator: its sources are one program.
BENCH_SRC := $(wildcard tests/bench/*.c)

$B/bench/load: $(call obj,$(BENCH_SRC)) $(LIB)
	@mkdir -p $(@D)
	@echo "  LINK    bench/load"
	$Q$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(call pkg,openssl jansson) -lwslay $(BASE_LIBS) -lpthread

bench: $B/bench/load $B/wg-mesh-coordinator ## build the load generator (tests/bench/README.md)

test-programs: $(TESTS) ## build the unit tests, run none

lab-programs: $(LAB_PROGRAMS) ## build the programs that the lab runs

unit: $(TESTS) ## build and run the unit tests
	$Qsh tests/unit/run.sh $(if $(filter asan,$(MODE)),asan,unit) $B/unit $(notdir $(TESTS))

fresh: ## run both commands of the README on a new Debian 12 (root, mmdebstrap)
	$Qsh tests/fresh.sh

# Each fuzz target is built twice: with libFuzzer, and with a main of our own that replays files.

FUZZ_SECONDS ?= 30
REPLAYS := $(patsubst tests/fuzz/%.c,$B/replay/%,$(FUZZ_SRC))
FUZZ_LIBS := $(call pkg,jansson yaml-0.1) -lwslay $(BASE_LIBS)

$B/fuzz/%: $B/tests/fuzz/%.o $(LIB)
	@mkdir -p $(@D)
	@echo "  LINK    fuzz/$*"
	$Q$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $< $(LIB) $(FUZZ_LIBS)

$B/replay/%: $B/tests/fuzz/%.o $B/tests/fuzz/replay.o $(LIB)
	@mkdir -p $(@D)
	@echo "  LINK    replay/$*"
	$Q$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $B/tests/fuzz/replay.o $(LIB) $(FUZZ_LIBS)

fuzzers: $(FUZZERS)

fuzz: ## build the fuzz targets with clang; fuzz-NAME runs one for FUZZ_SECONDS (30)
	$Q$(MAKE) --no-print-directory CC=clang MODE=fuzz fuzzers

fuzz-replay: $(REPLAYS) ## run every file of the corpora through its fuzz target, with any compiler
	$Qfor target in $(notdir $(REPLAYS)); do \
		if said=$$($B/replay/$$target tests/fuzz/corpus/$${target#fuzz_}/* 2>&1); then echo "ok corpus of $$target: $$said"; \
		else printf '%s\n' "$$said" "not ok corpus of $$target"; exit 1; fi; \
	done

fuzz-%: fuzz
	@mkdir -p build/fuzz/corpus/$*
	$Qbuild/fuzz/fuzz/fuzz_$* -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=1024 \
		-max_len=4096 -artifact_prefix=build/fuzz/ build/fuzz/corpus/$* tests/fuzz/corpus/$*

# ---- checks --------------------------------------------------------------------

check: all unit fuzz-replay ## build, unit tests, fuzz corpora and layers: everything without root
	$Qsh tests/layers.sh
	$Qsh tests/shape.sh
	$Qsh tests/manuals.sh $B
	$Q$B/wg-meshd wg0 --check --config etc/samples/agent.yaml --plugin-dir $B/plugins
	$Q$B/wg-mesh-coordinator serve --check --config etc/samples/coordinator.yaml
	$Q$B/wg-mesh-relay --check --config etc/samples/relay.yaml

asan: ## unit tests and programs under ASan and UBSan
	$Q$(MAKE) --no-print-directory MODE=asan all unit

C_FILES  = $(shell git ls-files '*.c' '*.h' 2>/dev/null || find core coordinator relay plugins tests -name '*.[ch]')
SH_FILES = $(shell git ls-files '*.sh' 2>/dev/null || find etc tests -name '*.sh') .ci/run \
	$(shell grep -l '^.!/bin/sh' $(EXAMPLES))

lint: lint-shell ## clang-tidy and shellcheck (each where it is installed)
	$Qif command -v clang-tidy >/dev/null; then \
		$(MAKE) --no-print-directory compile_commands.json && \
		clang-tidy --quiet -p . $(filter-out tests/%,$(filter %.c,$(C_FILES))) 2>&1 | \
			awk '!/warnings? (and .*)?generated/ { print } /warning:|error:/ { bad = 1 } END { exit bad }'; \
		else echo "lint: no clang-tidy here, C files were not looked at"; fi

lint-shell: ## shellcheck alone
	$Qif command -v shellcheck >/dev/null; then shellcheck -s dash -S warning $(SH_FILES); \
		else echo "lint: no shellcheck here, shell files were not looked at"; fi

format: ## lay out every C file as .clang-format says
	$Qclang-format -i $(C_FILES)

shape: ## functions over 80 lines, files over 500, folders without a README
	$Qsh tests/shape.sh

size: all ## what the programs weigh, stripped, against the budget of the agent (1 MiB)
	$QSTRIP='$(STRIP)' sh tests/size.sh $B

deps: ## install what building, trying and testing need (Debian, root)
	$Qsh etc/packages.sh build try test

quote := "
json = $(subst $(quote),\$(quote),$(1))
entry = {"directory": "$(CURDIR)", "file": "$(1)", "command": "$(call json,$(CC) $(ALL_CFLAGS) -c $(1))"}
compile_commands.json: $(MAKEFILE_LIST) ## for editors and clang tools
	$Q$(file >$@,[)$(foreach file,$(filter %.c,$(C_FILES)),$(file >>$@,$(call entry,$(file))$(comma)))
	$Qsed -i '$$ s/,$$//' $@ && echo ']' >>$@

# ---- install -------------------------------------------------------------------
# INSTALLED is the one list: install puts these there, uninstall takes them away. A line is
# DIRECTORY MODE FILE..., the file under its own name.

INSTALL ?= install
STRIP   ?= strip
DOCDIR  ?= $(DATADIR)/doc/wg-mesh
BASHCOMPDIR ?= $(DATADIR)/bash-completion/completions
ZSHCOMPDIR  ?= $(DATADIR)/zsh/site-functions
FISHCOMPDIR ?= $(DATADIR)/fish/vendor_completions.d

# Files with the packager's paths in them are written to $B/etc first.
SUBSTITUTE = sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@BINDIR@|$(BINDIR)|g' -e 's|@SBINDIR@|$(SBINDIR)|g' \
	-e 's|@PLUGINDIR@|$(PLUGINDIR)|g' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|g' -e 's|@VERSION@|$(VERSION)|g' \
	-e 's|@SYSCONFDIR@|$(SYSCONFDIR)|g' -e 's|@STATEDIR@|$(STATEDIR)|g' -e 's|@RUNDIR@|$(RUNDIR)|g'
TEMPLATES := $(wildcard etc/systemd/*.in etc/tmpfiles.d/*.in etc/*.pc.in)
GENERATED  = $(patsubst etc/%.in,$B/etc/%,$(TEMPLATES))

$B/etc/%: etc/%.in $B/flags
	@mkdir -p $(@D)
	$Q$(SUBSTITUTE) $< > $@

EXAMPLES = $(filter-out %.md,$(wildcard plugins/examples/* hooks/examples/*))

define INSTALLED
$(BINDIR) 755 $B/wg-mesh
$(SBINDIR) 755 $B/wg-meshd $B/wg-mesh-coordinator $B/wg-mesh-relay
$(PLUGINDIR) 644 $(PLUGINS)
$(INCLUDEDIR)/wg-mesh 644 core/include/wg-mesh/plugin.h
$(PKGCONFIGDIR) 644 $(filter %.pc,$(GENERATED))
$(UNITDIR) 644 $(filter %.service,$(GENERATED))
$(TMPFILESDIR) 644 $(filter $B/etc/tmpfiles.d/%,$(GENERATED))
$(BASHCOMPDIR) 644 $(wildcard etc/completions/bash/*)
$(ZSHCOMPDIR) 644 $(wildcard etc/completions/zsh/*)
$(FISHCOMPDIR) 644 $(wildcard etc/completions/fish/*)
$(MANDIR)/man1 644 $(wildcard etc/man/*.1)
$(MANDIR)/man8 644 $(wildcard etc/man/*.8)
$(DOCDIR)/examples 644 $(wildcard etc/samples/*.yaml) $(filter %.c,$(EXAMPLES))
$(DOCDIR)/examples 755 $(filter-out %.c,$(EXAMPLES))
endef
export INSTALLED

install: all $$(GENERATED) ## install under PREFIX (/usr), into DESTDIR if that is set
	$Qprintf '%s\n' "$$INSTALLED" | while read -r dir mode files; do \
		[ -n "$$files" ] || continue; \
		$(INSTALL) -d "$(DESTDIR)$$dir" && $(INSTALL) -m "$$mode" $$files "$(DESTDIR)$$dir" || exit 1; \
		done
	$Q$(INSTALL) -d $(DESTDIR)$(SYSCONFDIR) $(DESTDIR)$(SYSCONFDIR)/hooks.d

uninstall: ## remove what install put there; configuration and state stay
	$Qprintf '%s\n' "$$INSTALLED" | while read -r dir mode files; do \
		for file in $$files; do $(RM) "$(DESTDIR)$$dir/$${file##*/}"; done; \
		rmdir -p "$(DESTDIR)$$dir" 2>/dev/null || :; done
	$Qrmdir $(DESTDIR)$(SYSCONFDIR)/hooks.d $(DESTDIR)$(SYSCONFDIR) 2>/dev/null || :

dist: ## the source as build/wg-mesh-VERSION.tar.gz
	@mkdir -p build
	$Qgit archive --format=tar.gz --prefix=wg-mesh-$(VERSION)/ -o build/wg-mesh-$(VERSION).tar.gz HEAD
	@echo build/wg-mesh-$(VERSION).tar.gz

clean: ## remove build/
	$Q$(RM) -r build compile_commands.json

-include tests/unit/sources.mk
-include $(shell find $B -name '*.d' -type f 2>/dev/null)
