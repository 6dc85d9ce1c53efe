# ohemd - build, check, demo, install. Out of tree: everything made goes under $(BUILD).
#
#   make              daemon, client library, tools
#   make check        all tests     T=lease/expire one    SAN=address,undefined | thread
#   make check-long   what takes minutes: the daemon and trainers killed 200 times and more
#   make demo         Fashion-MNIST, a daemon and a trainer, in about two minutes
#   make bench        speeds, as ratios                   QUICK=1
#   make bench-scale  memory and draws at N = 10^8        QUICK=1
#   make experiment-noise  what the quarantine finds among wrong labels, and its worth    SEEDS=3
#   make fuzz F=codec SECONDS=60
#   make lint, make install DESTDIR= PREFIX=, make deps-demo, deps-check, ... (apt)
#
# WERROR=1 makes warnings errors (CI does). CC=clang works as gcc does.

VERSION := 0.1.0
SOVERSION := 0

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
SBINDIR ?= $(PREFIX)/sbin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
SYSCONFDIR ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
DOCDIR ?= $(PREFIX)/share/doc/ohemd
MANDIR ?= $(PREFIX)/share/man
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
PYTHONDIR ?= $(PREFIX)/lib/python3/dist-packages

ifeq ($(origin CC),default)
CC := gcc
endif
BUILD ?= build
SAN ?=
comma := ,
FLAVOUR := $(notdir $(CC))$(if $(SAN),-$(subst $(comma),-,$(SAN)))
O := $(BUILD)/$(FLAVOUR)

# ---- flags -------------------------------------------------------------------------------------

PKG_DAEMON := libzmq lmdb libuv msgpack libsodium libmicrohttpd jansson inih libsystemd
PKG_CLIENT := libzmq msgpack
PKG_IMPORT := lmdb libarchive zlib
PKG_CTL    := libcurl jansson
PKG_TEST   := cmocka
PKG_DEMO   := openblas
PKG_BENCH  := $(PKG_CLIENT) lmdb libuv libcurl jansson
PKG_SLOWFS := fuse3
# msgpack-c's module is called msgpack in Debian 12 and msgpack-c in newer ones
MSGPACK := $(shell pkg-config --exists msgpack-c 2>/dev/null && echo msgpack-c || echo msgpack)
pkg_cflags = $(shell pkg-config --cflags $(subst msgpack,$(MSGPACK),$(1)) 2>/dev/null)
pkg_libs   = $(shell pkg-config --libs $(subst msgpack,$(MSGPACK),$(1)) 2>/dev/null)

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
            -Wpointer-arith -Wundef -Wvla -Wformat=2 $(if $(WERROR),-Werror)
HARDENING := -fstack-protector-strong -fstack-clash-protection
ifeq ($(SAN),)
HARDENING += -D_FORTIFY_SOURCE=2
endif
OPTIMISE ?= $(if $(SAN),-O1,-O2)
CFLAGS ?= $(OPTIMISE) -g
# -ffp-contract=off: gcc and clang draw the same numbers (bit-equal sequences)
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -DOHEM_IN_TREE -DOHEMD_VERSION='"$(VERSION)"' -fPIC \
             -fvisibility=hidden -ffp-contract=off -fno-strict-aliasing $(WARNINGS) $(HARDENING) \
             $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all) \
             $(CPPFLAGS) $(CFLAGS) $(EXTRA_CFLAGS)
ALL_LDFLAGS = -Wl,-z,relro,-z,now -Wl,--as-needed $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)

# ---- what is built -----------------------------------------------------------------------------

PROTO_SRC  := $(wildcard proto/*.c)
ENGINE_SRC := $(wildcard daemon/engine/*.c)
DAEMON_SRC := $(wildcard daemon/*.c)
CLIENT_SRC := $(filter-out client/ohemctl%.c,$(wildcard client/*.c))
CTL_SRC    := $(wildcard client/ohemctl*.c)
IMPORT_SRC := $(wildcard client/import/*.c)
DEMO_SRC   := $(wildcard client/examples/demo/*.c)
EXAMPLE_SRC := $(wildcard client/examples/*.c)
TESTLIB_SRC := $(filter-out tests/lib/slowfs.c tests/lib/powercut.c,$(wildcard tests/lib/*.c))
UNIT_SRC   := $(wildcard tests/unit/test_*.c tests/property/test_*.c)
INTEG_SRC  := $(wildcard tests/integration/test_*.c)
BENCH_SRC  := $(filter-out tests/bench/scale%.c,$(wildcard tests/bench/*.c))
SCALE_SRC  := $(filter-out tests/bench/scale_record.c,$(wildcard tests/bench/scale*.c)) \
              $(addprefix tests/bench/,measure.c quiet.c rows.c rows_json.c usage.c)
CHAOS_SRC  := $(wildcard tests/chaos/chaos_*.c)
FUZZ_SRC   := $(wildcard tests/fuzz/fuzz_*.c)

objs = $(patsubst %.c,$(O)/%.o,$(1))

PROGRAMS := $(O)/ohemd $(O)/ohemctl $(O)/ohem-import
DEMO     := $(O)/ohem-demo
LIBRARY  := $(O)/libohem.so.$(SOVERSION) $(O)/libohem.a $(O)/ohem.pc

.PHONY: all
all: $(PROGRAMS) $(LIBRARY)

$(O)/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(call pkg_cflags,$(PKG)) -MMD -MP -c -o $@ $<

$(call objs,$(DAEMON_SRC)): PKG = $(PKG_DAEMON)
$(call objs,$(PROTO_SRC) $(ENGINE_SRC) $(CLIENT_SRC)): PKG = $(PKG_CLIENT)
$(call objs,$(IMPORT_SRC)): PKG = $(PKG_IMPORT)
$(call objs,$(CTL_SRC)): PKG = $(PKG_CTL)
$(call objs,$(DEMO_SRC)): PKG = $(PKG_DEMO) zlib
$(call objs,$(TESTLIB_SRC) $(UNIT_SRC) $(INTEG_SRC)): PKG = $(PKG_TEST) $(PKG_CLIENT) lmdb
$(call objs,$(CHAOS_SRC)): PKG = $(PKG_CLIENT)
$(call objs,tests/lib/slowfs.c): PKG = $(PKG_SLOWFS)
$(call objs,$(BENCH_SRC) $(SCALE_SRC) tests/bench/scale_record.c): PKG = $(PKG_BENCH)

$(O)/libproto.a: $(call objs,$(PROTO_SRC))
$(O)/libengine.a: $(call objs,$(ENGINE_SRC))
$(O)/libdaemon.a: $(call objs,$(filter-out daemon/main.c,$(DAEMON_SRC)))
$(O)/libtest.a: $(call objs,$(TESTLIB_SRC))
$(O)/%.a:
	$(Q)rm -f $@ && ar rcs $@ $^

$(O)/ohemd: $(call objs,daemon/main.c) $(O)/libdaemon.a $(O)/libengine.a $(O)/libproto.a
	$(Q)$(CC) $(ALL_LDFLAGS) -pie -o $@ $^ $(call pkg_libs,$(PKG_DAEMON)) -lm -lpthread
$(O)/ohemctl: $(call objs,$(CTL_SRC)) $(O)/libproto.a
	$(Q)$(CC) $(ALL_LDFLAGS) -pie -o $@ $^ $(call pkg_libs,$(PKG_CTL) msgpack) -lm
$(O)/ohem-import: $(call objs,$(IMPORT_SRC)) $(O)/libproto.a
	$(Q)$(CC) $(ALL_LDFLAGS) -pie -o $@ $^ $(call pkg_libs,$(PKG_IMPORT)) -lm

# The library: shared with a soname and a symbol map, static with its own objects in one archive.
$(O)/libohem.so.$(SOVERSION): $(call objs,$(CLIENT_SRC) $(PROTO_SRC)) client/libohem.map
	$(Q)$(CC) $(ALL_LDFLAGS) -shared -Wl,-soname,libohem.so.$(SOVERSION) \
	  -Wl,--version-script=client/libohem.map -o $@ $(filter %.o,$^) $(call pkg_libs,$(PKG_CLIENT))
	$(Q)ln -sf $(@F) $(O)/libohem.so
$(O)/libohem.a: $(call objs,$(CLIENT_SRC) $(PROTO_SRC))
# made anew each time: what it says depends on PREFIX, which the last make may not have had
.PHONY: $(O)/ohem.pc
$(O)/ohem.pc: client/ohem.pc.in
	@mkdir -p $(@D)
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@INCLUDEDIR@|$(INCLUDEDIR)|' \
	  -e 's|@VERSION@|$(VERSION)|; s|@REQUIRES@|$(subst msgpack,$(MSGPACK),$(PKG_CLIENT))|' $< > $@

# ---- tests -------------------------------------------------------------------------------------

UNIT_BIN  := $(patsubst %.c,$(O)/%,$(UNIT_SRC))
INTEG_BIN := $(patsubst %.c,$(O)/%,$(INTEG_SRC))
TEST_LIBS  = $(O)/libtest.a $(O)/libdaemon.a $(O)/libengine.a

$(UNIT_BIN) $(INTEG_BIN): $(O)/%: $(O)/%.o $(TEST_LIBS) $(O)/libohem.a
	$(Q)$(CC) $(ALL_LDFLAGS) $(TEST_LDFLAGS) -o $@ $< $(TEST_LIBS) $(O)/libohem.a \
	  $(call pkg_libs,$(PKG_TEST) $(PKG_DAEMON)) -lm -lpthread

# Chaos: a trainer that is killed, with a tap where the library receives; a reader of the state
CHAOS_BIN := $(patsubst %.c,$(O)/%,$(CHAOS_SRC))
$(O)/tests/chaos/chaos_trainer: $(call objs,tests/chaos/chaos_trainer.c) $(O)/libohem.a
	$(Q)$(CC) $(ALL_LDFLAGS) -Wl,--wrap=link_receive -pie -o $@ $^ $(call pkg_libs,$(PKG_CLIENT)) -lm
$(O)/tests/chaos/chaos_state: $(call objs,tests/chaos/chaos_state.c) $(O)/libdaemon.a \
  $(O)/libengine.a $(O)/libproto.a
	$(Q)$(CC) $(ALL_LDFLAGS) -pie -o $@ $^ $(call pkg_libs,$(PKG_DAEMON)) -lm -lpthread

# A slow disk for the tests, as a file system of its own
$(O)/slowfs: $(call objs,tests/lib/slowfs.c)
	$(Q)$(CC) $(ALL_LDFLAGS) -pie -o $@ $^ $(call pkg_libs,$(PKG_SLOWFS)) -lpthread

# A disk that forgets and fails, to be preloaded; without sanitizers: it may run before them
$(O)/powercut.so: tests/lib/powercut.c tests/lib/powercut.h
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -fPIC -shared $(WARNINGS) -O2 -g -o $@ $< -ldl

# The failing allocator of tests/lib/alloc.c, for the programs that use it
ALLOC_LDFLAGS := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc \
                 -Wl,--wrap=posix_memalign,--wrap=strdup,--wrap=free
$(O)/tests/unit/test_alloc $(O)/tests/unit/test_alloc_restore $(O)/tests/unit/test_audit \
  $(O)/tests/unit/test_state $(O)/tests/integration/test_steady: TEST_LDFLAGS = $(ALLOC_LDFLAGS)
# the faults of test_attribution.c sit between the engine's parts
$(O)/tests/property/test_attribution: TEST_LDFLAGS = -Wl,--wrap=hardness_report

.PHONY: tests chaos check
chaos: all $(CHAOS_BIN)
tests: all $(UNIT_BIN) $(INTEG_BIN) $(CHAOS_BIN) $(DEMO) $(O)/slowfs $(O)/powercut.so

CHECK = python3 tests/lib/run.py --build $(BUILD)
# One flavour when T or SAN is given; else the plain build and every sanitizer (tests/lib/run.py has
# the plan: which tests run under what).
check: deps-check
ifneq ($(T)$(SAN),)
	$(MAKE) tests
	$(CHECK) --flavour $(FLAVOUR) $(if $(T),--only $(T))
else
	$(MAKE) tests
	$(MAKE) tests SAN=address,undefined
	$(MAKE) tests SAN=thread
	$(MAKE) all CC=clang
	$(CHECK) --all
endif

# The daemon and its trainers killed at any moment, hundreds of times; gcc against clang (a quarter
# of an hour). SEED=N for that of an earlier run.
.PHONY: check-long
check-long: deps-check
	$(MAKE) tests CC=gcc
	$(MAKE) all CC=clang
	PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 tests/chaos/long.py --build $(BUILD) $(if $(SEED),--seed $(SEED))

# ---- the rest ----------------------------------------------------------------------------------

.PHONY: demo bench bench-scale lint install clean format
$(DEMO): $(call objs,$(DEMO_SRC)) $(O)/libohem.a
	$(Q)$(CC) $(ALL_LDFLAGS) -pie -o $@ $^ $(call pkg_libs,$(PKG_CLIENT) $(PKG_DEMO) zlib) -lm
demo: deps-demo
	@$(MAKE) -s -j2 $(PROGRAMS) $(DEMO)
	@client/examples/demo/demo.sh $(O)

BENCH := $(O)/tests/bench/bench
$(BENCH): $(call objs,$(BENCH_SRC)) $(O)/libengine.a $(O)/libohem.a
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(call pkg_libs,$(PKG_BENCH)) -lm -lpthread
bench: deps-bench
	@$(MAKE) -s -j2 all $(BENCH)
	@tests/bench/bench.sh $(O) $(QUICK)

SCALE := $(O)/tests/bench/scale
$(SCALE): $(call objs,$(SCALE_SRC)) $(O)/libdaemon.a $(O)/libengine.a $(O)/libproto.a
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(call pkg_libs,$(PKG_BENCH) libsodium) -lm -lpthread
bench-scale: deps-bench
	@$(MAKE) -s -j2 $(SCALE)
	@tests/bench/scale.sh $(O) $(QUICK)

.PHONY: experiment-noise
SEEDS ?= 3
experiment-noise: deps-check
	@$(MAKE) -s -j2 all
	@OHEM_BUILD=$(O) PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 tests/experiments/noise.py --seeds $(SEEDS) \
	  $(if $(FLIPS),--flips $(FLIPS)) $(if $(VALIDATE),--validate)

# what scale.trace was recorded with: tests/bench/scale_record.sh $(O) tests/bench/scale.trace
$(O)/tests/bench/scale_record: $(call objs,tests/bench/scale_record.c \
  $(filter-out %/demo.c,$(DEMO_SRC))) $(O)/libohem.a
	$(Q)$(CC) $(ALL_LDFLAGS) -Wl,--wrap=ohem_report -o $@ $^ \
	  $(call pkg_libs,$(PKG_CLIENT) $(PKG_DEMO) zlib) -lm

# libFuzzer entries, clang only: make fuzz F=codec SECONDS=60
SECONDS ?= 60
FUZZ_O := $(BUILD)/fuzz
$(FUZZ_O)/fuzz_%: tests/fuzz/fuzz_%.c $(PROTO_SRC) $(ENGINE_SRC) $(filter-out daemon/main.c,$(DAEMON_SRC))
	@mkdir -p $(@D)
	$(Q)clang $(subst -fPIC,,$(ALL_CFLAGS)) -fsanitize=fuzzer,address,undefined \
	  $(call pkg_cflags,$(PKG_DAEMON)) -o $@ $^ $(call pkg_libs,$(PKG_DAEMON)) -lm -lpthread
.PHONY: fuzz
fuzz: deps-check
	$(MAKE) $(FUZZ_O)/fuzz_$(F)
	@mkdir -p $(FUZZ_O)/corpus-$(F)
	$(FUZZ_O)/fuzz_$(F) -max_total_time=$(SECONDS) -print_final_stats=1 \
	  $(FUZZ_O)/corpus-$(F) $(wildcard tests/fuzz/corpus/$(F))

ALL_SRC := $(shell git ls-files '*.c' '*.h' 2>/dev/null)
format:
	clang-format -i $(ALL_SRC)
lint: deps-lint
	tests/lib/lint.sh

# the configuration's name, the folders', what the description and the head say beside
make_unit = sed -e 's|@SBINDIR@|$(SBINDIR)|; s|@SYSCONFDIR@|$(SYSCONFDIR)|; s|@NAME@|$(1)|' \
  -e 's|@FOLDER@|$(2)|g; s|@OF@|$(3)|; s|@WHICH@|$(4)|; s|@UNIT@|ohemd|' deploy/ohemd.service
install: all
	install -d $(addprefix $(DESTDIR),$(BINDIR) $(SBINDIR) $(LIBDIR)/pkgconfig $(INCLUDEDIR)/ohem \
	  $(UNITDIR) $(SYSUSERSDIR) $(SYSCONFDIR)/ohemd $(DOCDIR)/examples $(PYTHONDIR)/ohem \
	  $(addprefix $(MANDIR)/man,1 3 5 8) $(COMPLETIONDIR))
	install -m 755 $(O)/ohemd $(DESTDIR)$(SBINDIR)/
	install -m 755 $(O)/ohemctl $(O)/ohem-import $(DESTDIR)$(BINDIR)/
	install -m 755 $(O)/libohem.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libohem.so.$(VERSION)
	ln -sf libohem.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libohem.so.$(SOVERSION)
	ln -sf libohem.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libohem.so
	install -m 644 $(O)/libohem.a $(DESTDIR)$(LIBDIR)/
	install -m 644 $(O)/ohem.pc $(DESTDIR)$(LIBDIR)/pkgconfig/
	install -m 644 client/ohem.h proto/error.h $(DESTDIR)$(INCLUDEDIR)/ohem/
	$(call make_unit,ohemd,ohemd,,) > $(DESTDIR)$(UNITDIR)/ohemd.service
	$(call make_unit,%i,ohemd-%i, (%i), for each /etc/ohemd/NAME.conf that is started as ohemd@NAME) \
	  > $(DESTDIR)$(UNITDIR)/ohemd@.service
	install -m 644 deploy/ohemd.sysusers $(DESTDIR)$(SYSUSERSDIR)/ohemd.conf
	install -m 644 deploy/ohemd.conf $(DESTDIR)$(DOCDIR)/ohemd.conf.sample
	test -e $(DESTDIR)$(SYSCONFDIR)/ohemd/ohemd.conf || \
	  install -m 644 deploy/ohemd.conf $(DESTDIR)$(SYSCONFDIR)/ohemd/ohemd.conf
	install -m 644 README.md proto/PROTOCOL.md deploy/SECURITY.md deploy/ohemd.rules.yml \
	  deploy/grafana/ohemd.json $(DESTDIR)$(DOCDIR)/
	install -m 644 $(EXAMPLE_SRC) client/examples/train_pytorch.py $(DESTDIR)$(DOCDIR)/examples/
	install -m 644 deploy/man/ohemd.8 $(DESTDIR)$(MANDIR)/man8/
	install -m 644 deploy/man/ohemctl.1 deploy/man/ohem-import.1 $(DESTDIR)$(MANDIR)/man1/
	install -m 644 deploy/man/libohem.3 $(DESTDIR)$(MANDIR)/man3/
	{ cat deploy/man/ohemd.conf.5.in; $(O)/ohemd --help-config | awk -f deploy/man/settings.awk; } \
	  > $(DESTDIR)$(MANDIR)/man5/ohemd.conf.5
	install -m 644 deploy/completion/ohemd.bash $(DESTDIR)$(COMPLETIONDIR)/ohemd
	ln -sf ohemd $(DESTDIR)$(COMPLETIONDIR)/ohemctl
	ln -sf ohemd $(DESTDIR)$(COMPLETIONDIR)/ohem-import
	install -m 644 client/python/ohem/*.py client/python/ohem/py.typed $(DESTDIR)$(PYTHONDIR)/ohem/

clean:
	rm -rf $(BUILD)

# ---- what each target needs from Debian --------------------------------------------------------

DEPS_BUILD := gcc libc6-dev make pkg-config libzmq3-dev liblmdb-dev libuv1-dev libmsgpack-dev \
  libsodium-dev libmicrohttpd-dev libjansson-dev libinih-dev libsystemd-dev libarchive-dev \
  zlib1g-dev libcurl4-openssl-dev
DEPS_DEMO  := $(DEPS_BUILD) libopenblas-dev dataset-fashion-mnist
DEPS_CHECK := $(DEPS_BUILD) libcmocka-dev libfuse3-dev fuse3 valgrind clang libclang-rt-14-dev python3 python3-zmq \
  python3-msgpack python3-numpy python3-lmdb dataset-fashion-mnist libopenblas-dev curl git
DEPS_BENCH := $(DEPS_BUILD) python3 python3-numpy python3-lmdb python3-torch
DEPS_LINT  := $(DEPS_BUILD) libcmocka-dev libfuse3-dev libopenblas-dev clang-format clang-tidy cppcheck shellcheck git

.PHONY: deps-build deps-demo deps-check deps-bench deps-lint
deps-build: ; @deploy/deps.sh $(DEPS_BUILD)
deps-demo: ; @deploy/deps.sh $(DEPS_DEMO)
deps-check: ; @deploy/deps.sh $(DEPS_CHECK)
deps-bench: ; @deploy/deps.sh $(DEPS_BENCH)
deps-lint: ; @deploy/deps.sh $(DEPS_LINT)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
