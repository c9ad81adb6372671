# Tacit: one static library per folder, in floor order.
#
#   make            programs in build/release/bin
#   make demo       four hospitals learn together (installs what is missing)
#   make test       every test (installs what is missing)
#   make help       the rest

SHELL := /bin/bash
.DEFAULT_GOAL := all
MAKEFLAGS += --no-builtin-rules

VARIANT ?= release
B := build/$(VARIANT)
CC := gcc
PREFIX ?= /usr/local
# clang knows other warnings: they are read, but do not stop the fuzzers.
WERROR ?= $(if $(CI),$(if $(filter fuzz,$(VARIANT)),,-Werror))

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes \
        -Wmissing-prototypes -Wvla -Wformat=2 -Wcast-qual -Wundef $(WERROR)
CFLAGS_release := -O2 -g
CFLAGS_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all \
               -fno-omit-frame-pointer
CFLAGS_tsan := -O1 -g -fsanitize=thread -fno-omit-frame-pointer
CFLAGS_cov := -O0 -g --coverage
CFLAGS_fuzz := -O1 -g -fsanitize=fuzzer-no-link,address,undefined \
               -fno-sanitize-recover=all -fno-omit-frame-pointer
ifeq ($(VARIANT),fuzz)
CC := clang
endif
CFLAGS_all := -std=c11 -D_GNU_SOURCE -I. -fstack-protector-strong \
              -D_FORTIFY_SOURCE=$(if $(filter release,$(VARIANT)),2,0) \
              -fPIE -ffp-contract=off $(WARN) $(CFLAGS_$(VARIANT)) $(CFLAGS)
LDFLAGS_all := $(CFLAGS_$(VARIANT)) -pie -Wl,-z,relro,-z,now -Wl,--as-needed \
               $(LDFLAGS)
LIBS := -lsodium -lnng -lsqlite3 -ljansson -lcyaml -lyaml -lutf8proc \
        -lgumbo -lmd4c -lzip -lexpat -lstemmer -lpcre2-8 -lm -lpthread

# Folders, highest floor first: the link order.
FOLDERS := sims client coordinator retrieval common/task common/strategy \
           common/plan common/wire \
           common/privacy common/model common/crypto common/tensor common/base
PROGRAMS := tacit tacit-coordinator tacit-sim
MAIN_tacit := client/main.c
MAIN_tacit-coordinator := coordinator/main.c
MAIN_tacit-sim := sims/main.c

comma := ,
sources = $(filter-out %/main.c %/mpi_fleet.c %/vecindex_extension.c,\
            $(wildcard $(1)/*.c))
library = $(B)/lib$(subst /,_,$(1)).a
objects = $(patsubst %.c,$(B)/%.o,$(1))

# Over several machines, where OpenMPI is there.
MPI := $(shell pkg-config --exists ompi-c 2>/dev/null && echo tacit-sim-mpi)
MPI_CFLAGS := $(if $(MPI),$(patsubst -I%,-isystem %,\
              $(shell pkg-config --cflags ompi-c)))
MPI_LIBS := $(if $(MPI),$(shell pkg-config --libs ompi-c))

LIBRARIES := $(foreach f,$(FOLDERS),$(if $(call sources,$(f)),$(call library,$(f))))
BINARIES := $(foreach p,$(PROGRAMS),$(if $(wildcard $(MAIN_$(p))),$(B)/bin/$(p))) \
            $(MPI:%=$(B)/bin/%)
TEST_SOURCES := $(wildcard tests/*/test_*.c)
TESTS := $(patsubst tests/%.c,$(B)/tests/%,$(TEST_SOURCES))
TEST_LIB := $(call objects,$(wildcard tests/*.c))
FUZZERS := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
BENCHES := $(patsubst tests/bench/%.c,$(B)/bench/%,\
             $(wildcard tests/bench/bench_*.c tests/bench/ann_*.c \
               tests/bench/engine_*.c))

# The vector table as an SQLite extension, of libc alone: what it needs of the
# folders below is compiled anew, against the program's own SQLite.
EXTENSION := $(B)/tacit_vec.so
EXTENSION_SOURCES := $(wildcard retrieval/vecindex*.c retrieval/ivf*.c \
                     retrieval/rabitq*.c common/tensor/kernel*.c) \
                     $(patsubst %,common/base/%.c,arena err utf8)

.PHONY: all
all: $(BINARIES) $(EXTENSION)

define library_rule
$(call library,$(1)): $(call objects,$(call sources,$(1)))
	@mkdir -p $$(@D)
	@rm -f $$@
	@ar rcs $$@ $$^
endef
$(foreach f,$(FOLDERS),$(eval $(call library_rule,$(f))))

$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(CFLAGS_all) -MMD -MP -c -o $@ $<

# Its tiles of all sizes, every access checked, take clang 4 minutes at -O1, and
# 2 s so; the fuzzers run it on processors without AVX2 alone.
ifeq ($(VARIANT),fuzz)
$(B)/common/tensor/kernels_base.o: CFLAGS_all += -O0
endif

# The built-in encoder is copied into its object.
$(B)/common/model/built_in.o: models/encoder.gguf models/reader.safetensors

$(B)/extension/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "  CC    $< (extension)"
	@$(CC) $(filter-out -fPIE,$(CFLAGS_all)) -fPIC -fvisibility=hidden \
	  -ffunction-sections -fdata-sections -DTACIT_VEC_EXTENSION=1 \
	  -MMD -MP -c -o $@ $<
$(EXTENSION): $(patsubst %.c,$(B)/extension/%.o,$(EXTENSION_SOURCES))
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(filter-out -pie,$(LDFLAGS_all)) -shared -Wl,--gc-sections \
	  -Wl,--version-script=<(echo '{global: sqlite3_*; local: *;};') \
	  $(if $(filter release,$(VARIANT)),-Wl$(comma)-z$(comma)defs) -o $@ $^ -lm

define program_rule
$(B)/bin/$(1): $(call objects,$(MAIN_$(1))) $(LIBRARIES)
	@mkdir -p $$(@D)
	@echo "  LINK  $$@"
	@$(CC) $(LDFLAGS_all) -o $$@ $$^ $(LIBS)
endef
$(foreach p,$(PROGRAMS),$(eval $(call program_rule,$(p))))

# The same program with other peers (sims/peers.h): its objects come first, so
# that the library's are not taken.
$(B)/sims/mpi_fleet.o: CFLAGS_all += $(MPI_CFLAGS)
$(B)/bin/tacit-sim-mpi: $(call objects,sims/main.c sims/mpi_fleet.c) \
                        $(LIBRARIES)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS_all) -o $@ $^ $(LIBS) $(MPI_LIBS)

$(B)/tests/%: $(B)/tests/%.o $(TEST_LIB) $(LIBRARIES)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS_all) -o $@ $^ $(LIBS) -lcmocka

# Some benchmarks have OpenBLAS for a peer, where it is installed.
HAVE_BLAS := $(shell pkg-config --exists openblas 2>/dev/null && echo 1)
$(B)/tests/bench/%.o: CFLAGS_all += $(if $(HAVE_BLAS),-DTACIT_HAVE_BLAS=1 \
                        $(shell pkg-config --cflags openblas))
$(B)/bench/%: LIBS += $(if $(HAVE_BLAS),-lopenblas)
$(B)/bench/%: $(B)/tests/bench/%.o $(TEST_LIB) $(LIBRARIES)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS_all) -o $@ $^ $(LIBS) -lcmocka

$(B)/fuzz/%: $(B)/tests/fuzz/%.o $(LIBRARIES)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS_all) -fsanitize=fuzzer -o $@ $^ $(LIBS)

# ---- setting up -----------------------------------------------------------
# Debian 12 packages: to build and run, and to look after the code.
PACKAGES := gcc libc6-dev pkg-config python3 libsodium-dev libnng-dev \
            libsqlite3-dev libjansson-dev libcyaml-dev libstemmer-dev \
            libyaml-dev libutf8proc-dev libgumbo-dev libmd4c-dev \
            libzip-dev libexpat1-dev libpcre2-dev poppler-utils \
            libcmocka-dev
PACKAGES_BENCH := libopenblas-dev
# For the test of tacit-sim-mpi, and to build it.
PACKAGES_TEST := libopenmpi-dev openmpi-bin
# For the tests of the ARM kernels.
PACKAGES_ARM := gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
PACKAGES_DEV := clang clang-tidy clang-format cppcheck valgrind gcovr

# $(call install,PACKAGES): as root, through sudo, or say the one command.
define install
@missing=""; for p in $(1); do \
  dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || \
    missing="$$missing $$p"; done; \
if [ -z "$$missing" ]; then exit 0; fi; \
if [ "$$(id -u)" = 0 ]; then sudo=""; \
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo=sudo; \
else echo "These Debian packages are missing. Install them, then go on:" >&2; \
  echo "  sudo apt-get install$$missing" >&2; exit 1; fi; \
echo "installing:$$missing" >&2; \
$$sudo apt-get update -qq >&2 && DEBIAN_FRONTEND=noninteractive \
  $$sudo apt-get install -y -qq --no-install-recommends $$missing >/dev/null
endef

.PHONY: deps deps-mpi deps-dev deps-bench
deps:
	$(call install,$(PACKAGES))
deps-mpi: deps
	$(call install,$(PACKAGES_TEST))
deps-dev: deps
	$(call install,$(PACKAGES_DEV))
deps-bench: deps-bench
	$(call install,$(PACKAGES_BENCH))

# ---- the two commands -----------------------------------------------------
# The set-up may install what the first lines of this file look for, so each
# goes on in a second make.
.PHONY: demo test test-run
demo: deps
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@sims/clinic/demo.sh

test: deps-mpi
	@$(MAKE) --no-print-directory -j$$(nproc) test-run
test-run: $(BINARIES) $(EXTENSION) $(TESTS)
	@TACIT_BUILD=$(B) tests/run.sh $(TESTS)

# ---- the rest -------------------------------------------------------------
.PHONY: help tests benches fuzzers bench bench-flamby bench-tables check tsan valgrind tidy format \
        fuzz coverage install clean
help:
	@sed -n 's/^## //p' Makefile
## make deps           install missing Debian packages (root or sudo)
## make deps-mpi       install OpenMPI, for tacit-sim-mpi
## make                build/release/bin/{tacit,tacit-coordinator,tacit-sim}
## make demo           four hospitals learn together on this machine
## make test           all tests
## make check          all tests under ASan and UBSan
## make tsan           the threaded tests under TSan
## make valgrind       a few whole-program tests under valgrind
## make tidy           style, layers, clang-tidy, cppcheck, gcc -fanalyzer
## make format         clang-format in place
## make arm            the tests of kernels as 64-bit ARM, under qemu
## make fuzz           every fuzz target for FUZZ_SECONDS (60) each
## make coverage       line coverage of common/crypto and common/wire
## make bench          every benchmark as JSON lines (BENCH=id: one)
## make bench-flamby   Fed-Heart-Disease: published and ours, per centre
## make bench-tables   published results, reproduced (half an hour)
## make install        PREFIX=/usr/local DESTDIR=

tests: $(BINARIES) $(EXTENSION) $(TESTS)
benches: $(BINARIES) $(BENCHES)
fuzzers: $(FUZZERS)

check: deps-mpi
	@$(MAKE) --no-print-directory -j$$(nproc) VARIANT=asan test-run
tsan: deps-mpi
	@$(MAKE) --no-print-directory -j$$(nproc) VARIANT=tsan test-run
valgrind: deps-dev
	@$(MAKE) --no-print-directory -j$$(nproc) tests
	@TACIT_BUILD=$(B) tests/valgrind.sh

.PHONY: arm
arm:
	$(call install,$(PACKAGES_ARM))
	@tests/arm/run.sh

tidy: deps-dev
	@python3 tests/tidy/tidy.py
	@tests/tidy/analyse.sh
format: deps-dev
	@git ls-files '*.c' '*.h' | xargs clang-format -i

FUZZ_SECONDS ?= 60
fuzz: deps-dev
	@$(MAKE) --no-print-directory -j$$(nproc) VARIANT=fuzz fuzzers
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run.sh

coverage: deps-dev
	@$(MAKE) --no-print-directory -j$$(nproc) VARIANT=cov test-run
	@gcovr -r . --object-directory build/cov -f 'common/(crypto|wire)/' \
	  --exclude-throw-branches --gcov-ignore-parse-errors

bench: deps
	@$(MAKE) --no-print-directory -j$$(nproc) benches >&2
	@TACIT_BUILD=$(B) tests/bench/run.sh $(BENCH)
bench-flamby: deps
	@$(MAKE) --no-print-directory -j$$(nproc) all >&2
	@TACIT_BUILD=$(B) python3 tests/bench/flamby.py

bench-tables: deps
	@$(MAKE) --no-print-directory -j$$(nproc) all >&2
	@TACIT_BUILD=$(B) python3 tests/bench/tables.py $(TABLE)

DESTDIR ?=
MAN := $(DESTDIR)$(PREFIX)/share/man/man1
COMPLETIONS := $(DESTDIR)$(PREFIX)/share/bash-completion/completions
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/tacit \
	  $(MAN) $(COMPLETIONS)
	install -m 755 $(BINARIES) $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(EXTENSION) $(DESTDIR)$(PREFIX)/lib/tacit
	for p in $(PROGRAMS); do $(B)/bin/$$p --man > $(MAN)/$$p.1 && \
	  $(B)/bin/$$p --completion > $(COMPLETIONS)/$$p || exit 1; done

clean:
	rm -rf build

.SECONDARY:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
