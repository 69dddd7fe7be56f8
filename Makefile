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
	-Icore -Icore/include -include core/lib/banned.h $(WARNINGS) $(PATHS) \
	$(CFLAGS) $(MODE_CFLAGS.$(MODE)) $(PKG_CFLAGS)
ALL_LDFLAGS = $(LDFLAGS) $(MODE_LDFLAGS.$(MODE))

pkg = $(shell $(PKG_CONFIG) --libs $(1) 2>/dev/null)
has = $(shell $(PKG_CONFIG) --exists $(1) 2>/dev/null && echo yes)
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags libmnl libcurl jansson libsodium yaml-0.1 libwslay openssl sqlite3 libjwt 2>/dev/null)

# ---- what there is to build ----------------------------------------------------

LIB_SRC    := $(wildcard core/lib/*.c)
AGENT_SRC  := $(wildcard core/*.c)
CLI_SRC    := $(wildcard core/cli/*.c)
COORD_SRC  := $(wildcard coordinator/*.c)
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
LDLIBS.wg-mesh-coordinator := $(call pkg,openssl sqlite3 libjwt jansson yaml-0.1) -lwslay $(BASE_LIBS) -lpthread
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

.PHONY: lab-programs all help deps check asan lint format install uninstall dist clean size shape fresh fuzz fuzzers fuzz-replay unit

all: $(PROGRAMS) $(PLUGINS) ## build the programs and plugins (MODE=release|debug|asan|fuzz)

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

# Rebuild when the flags change.
$B/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)' | cmp -s - $@ || echo '$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)' > $@
FORCE:

# ---- tests ---------------------------------------------------------------------
# A unit test is one file. It may include the .c it tests and is linked with the archive, and with
# what its line `OBJ.test_x` names besides.

$B/unit/%: $B/tests/unit/%.o $$(call obj,$$(SRC.$$*)) $(LIB)
	@mkdir -p $(@D)
	@echo "  LINK    unit/$*"
	$Q$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(call obj,$(SRC.$*)) $(LIB) \
		$(call pkg,libmnl libcurl openssl sqlite3 libjwt jansson yaml-0.1 cmocka) -lwslay $(BASE_LIBS) -ldl -lpthread

# Programs of the lab's own, built the same way.
LAB_PROGRAMS := $(patsubst tests/lab/%.c,$B/lab/%,$(wildcard tests/lab/*_test.c))

$B/lab/%: $B/tests/lab/%.o $$(call obj,$$(SRC.$$*)) $(LIB)
	@mkdir -p $(@D)
	@echo "  LINK    lab/$*"
	$Q$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(call obj,$(SRC.$*)) $(LIB) \
		$(call pkg,libmnl) $(BASE_LIBS)

lab-programs: $(LAB_PROGRAMS) ## build the programs that the lab runs

unit: $(TESTS) ## build and run the unit tests
	$Q sh tests/unit/run.sh $B/unit $(notdir $(TESTS))

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
		printf '%s: ' $$target; \
		$B/replay/$$target tests/fuzz/corpus/$${target#fuzz_}/* || exit 1; \
	done

fuzz-%: fuzz
	@mkdir -p build/fuzz/corpus/$*
	$Qbuild/fuzz/fuzz/fuzz_$* -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=1024 \
		-max_len=4096 -artifact_prefix=build/fuzz/ build/fuzz/corpus/$* tests/fuzz/corpus/$*

-include tests/unit/sources.mk
-include $(shell find $B -name '*.d' 2>/dev/null)
