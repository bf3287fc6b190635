# SPDX-License-Identifier: Apache-2.0
#
#   make          programs in build/bin         make check    what CI runs (minutes)
#   make deps     install what is missing       make demo     set up everything and show the main job
#   make lint     format, layers, manuals       make bench    budgets, both sides of each ratio
#   make format   what clang-format wants       make unit sim lab-tests    parts of check
#   make SAN=1    ASan and UBSan, in build-san  make install DESTDIR= PREFIX=
#   make faults   every program of a move killed and stopped at every instant; hangs, cut links
#   make security-table   who may do what, into docs/security.md
#   make model    the commit's rules, every state   make fuzz, fuzz-smoke   every decoder, FUZZ_TIME=seconds each

SAN ?=
V ?=
BUILD ?= build$(if $(SAN),-san)
PREFIX ?= /usr/local
CC := $(if $(shell command -v ccache 2>/dev/null),ccache )$(if $(filter default,$(origin CC)),gcc,$(CC))
Q := $(if $(V),,@)

PKGS := libuv libprotobuf-c libsodium libcrypto libmnl libseccomp libcap-ng jansson libzstd
WARN := -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wundef \
	-Wpointer-arith -Wcast-qual -Wwrite-strings $(if $(CI),-Werror)
, := ,
HARDEN := $(if $(SAN),-fsanitize=address$(,)undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined,\
	-fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
CFLAGS ?= -O2 -g
override CFLAGS += -std=gnu17 $(WARN) $(HARDEN) -fPIE -D_GNU_SOURCE -Iinclude -Isrc -isystem $(BUILD)/gen/proto \
	$(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LDFLAGS += -pie -Wl,-z,relro,-z,now,--as-needed $(if $(SAN),-fsanitize=address$(,)undefined)
LIBS = $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lpthread

# Rooms whose objects go into one archive; a program takes from it what it uses.
ROOMS := base flip rpc raw lib inject state image memory servers
PROGRAMS := flipd procd mover shepherd godwit tod bullet soap
DIR_flipd := src/flipd
DIR_procd := src/procd
DIR_mover := src/mover
DIR_shepherd := src/shepherd
DIR_godwit := src/cli
DIR_tod := src/servers/tod
DIR_bullet := src/servers/bullet
DIR_soap := src/servers/soap

PROTOS := $(wildcard proto/*.proto)
GEN_C := $(PROTOS:proto/%.proto=$(BUILD)/gen/proto/%.pb-c.c)
GEN_H := $(GEN_C:.c=.h)
CORE_SRC := $(foreach r,$(ROOMS),$(wildcard src/$(r)/*.c src/$(r)/arch/x86_64/*.c))
AGENT_SRC := $(wildcard src/inject/arch/x86_64/agent/*.c src/inject/arch/x86_64/agent/*.S)
CORE_OBJ := $(CORE_SRC:%.c=$(BUILD)/obj/%.o) $(GEN_C:$(BUILD)/gen/%.c=$(BUILD)/obj/gen/%.o) \
	$(if $(AGENT_SRC),$(BUILD)/obj/src/inject/agent-blob.o)
prog_obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard $(DIR_$(1))/*.c))
PROG_BIN := $(foreach p,$(PROGRAMS),$(if $(wildcard $(DIR_$(p))/*.c),$(BUILD)/bin/$(p)))
UNIT_SRC := $(wildcard tests/unit/*_test.c)
UNIT_BIN := $(UNIT_SRC:tests/unit/%.c=$(BUILD)/tests/unit/%)
SIM_SRC := $(wildcard tests/sim/*_sim.c)
SIM_BIN := $(SIM_SRC:tests/sim/%.c=$(BUILD)/tests/sim/%)
VICTIM_SRC := $(wildcard tests/victim/*.c)
VICTIM_BIN := $(VICTIM_SRC:tests/victim/%.c=$(BUILD)/tests/victim/%)
FUZZ_SRC := $(wildcard fuzz/*_fuzz.c)
FUZZ_BIN := $(FUZZ_SRC:fuzz/%.c=$(BUILD)/fuzz/%)
TOOL_SRC := $(wildcard tests/lab/tools/*.c bench/*.c)
TOOL_BIN := $(patsubst %.c,$(BUILD)/%,$(TOOL_SRC))
STRIKE := $(BUILD)/tests/lab/tools/strike

.PHONY: all deps demo check check-long soak lint format bench install clean unit sim model lab-tests faults tools fuzz fuzz-build fuzz-smoke fuzzers
.SECONDARY:

all: $(PROG_BIN) $(BUILD)/libgodwit.a

$(BUILD)/gen/proto/%.pb-c.c $(BUILD)/gen/proto/%.pb-c.h: proto/%.proto
	@mkdir -p $(@D)
	$(Q)protoc-c --proto_path=proto --c_out=$(BUILD)/gen/proto $<

$(BUILD)/obj/gen/%.o: $(BUILD)/gen/%.c | $(GEN_H)
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -Werror,$(CFLAGS)) -w -MD -MP -c -o $@ $<

$(BUILD)/obj/%.o: %.c | $(GEN_H)
	@mkdir -p $(@D)
	@$(if $(V),,echo "  CC $<")
	$(Q)$(CC) $(CFLAGS) -MD -MP -c -o $@ $<

$(BUILD)/core.a: $(CORE_OBJ)
	@rm -f $@
	$(Q)ar rcs $@ $^

# What the daemons are made of, for their unit tests.
DAEMON_OBJ := $(filter-out %/main.o,$(call prog_obj,procd) $(call prog_obj,shepherd) $(call prog_obj,flipd))
$(BUILD)/daemons.a: $(DAEMON_OBJ)
	@rm -f $@
	$(Q)ar rcs $@ $^

# What a program needs that calls others through flipd: include/godwit.h, with libsodium and
# libprotobuf-c.
LIBGODWIT := $(addprefix $(BUILD)/obj/src/,lib/godwit.o lib/objects.o lib/soap_wire.o lib/ps.o lib/client.o lib/report.o lib/frame.o rpc/cap.o rpc/header.o rpc/port.o \
	base/err.o base/fd.o base/htab.o base/buf.o base/log.o base/util.o) \
	$(BUILD)/obj/gen/proto/procd.pb-c.o $(BUILD)/obj/gen/proto/mover.pb-c.o
$(BUILD)/libgodwit.a: $(LIBGODWIT) Makefile
	@rm -f $@
	$(Q)ar rcs $@ $(LIBGODWIT)

define program
$(BUILD)/bin/$(1): $(call prog_obj,$(1)) $(BUILD)/core.a
	@mkdir -p $$(@D)
	@echo "  LD $$@"
	$(Q)$(CC) $(LDFLAGS) -o $$@ $(call prog_obj,$(1)) $(BUILD)/core.a $$(LIBS)
endef
$(foreach p,$(PROGRAMS),$(eval $(call program,$(p))))

# The agent is freestanding, position-independent code that runs inside other processes: one flat blob, no relocations.
AGENT_CFLAGS := -O2 -std=gnu17 -Wall -Wextra -Isrc -ffreestanding -fPIE -fno-stack-protector -fcf-protection=none \
	-fno-asynchronous-unwind-tables -mno-red-zone -mgeneral-regs-only -fno-builtin -fvisibility=hidden
$(BUILD)/agent.elf: $(AGENT_SRC) src/inject/arch/x86_64/agent/agent.lds $(wildcard src/inject/*.h)
	@mkdir -p $(@D)
	$(Q)gcc $(AGENT_CFLAGS) -nostdlib -static-pie -Wl,-T,src/inject/arch/x86_64/agent/agent.lds -Wl,--build-id=none \
		-Wl,--no-dynamic-linker -o $@ $(filter %.c %.S,$^)
	$(Q)if readelf -r $@ | grep -q R_X86; then echo "agent has relocations" >&2; rm -f $@; exit 1; fi
$(BUILD)/agent.bin: $(BUILD)/agent.elf
	$(Q)objcopy -O binary $< $@
$(BUILD)/obj/src/inject/agent-blob.o: $(BUILD)/agent.bin
	@mkdir -p $(@D)
	@printf '.section .rodata\n.balign 16\n.global agent_blob_start\n.global agent_blob_end\nagent_blob_start:\n.incbin "%s"\nagent_blob_end:\n.section .note.GNU-stack,"",@progbits\n' $< | gcc -c -x assembler -o $@ -

$(BUILD)/tests/unit/%: tests/unit/%.c $(BUILD)/daemons.a $(BUILD)/core.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -MD -MP -o $@ $< $(BUILD)/daemons.a $(BUILD)/core.a $(LIBS) -lcmocka
$(BUILD)/tests/sim/rpc_sim: tests/sim/world.c
$(BUILD)/tests/sim/commit_sim: tests/sim/commit_world.c $(BUILD)/obj/src/procd/commit.o
$(BUILD)/tests/sim/%: tests/sim/%.c $(BUILD)/core.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -MD -MP -o $@ $(filter %.c %.o,$^) $(BUILD)/core.a $(LIBS) -lcmocka
# Victims are ordinary programs: they know nothing of godwit and link nothing of it.
$(BUILD)/tests/victim/%: tests/victim/%.c $(wildcard tests/victim/*.h)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu17 -O1 -g -Wall -Wextra -D_GNU_SOURCE -Itests/victim -o $@ $< -lpthread -lm
$(TOOL_BIN): $(BUILD)/%: %.c $(BUILD)/core.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -MD -MP -o $@ $< $(BUILD)/core.a $(LIBS)

$(STRIKE): $(wildcard tests/lab/strike/*.[ch]) $(BUILD)/core.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.c,$^) $(BUILD)/core.a $(LIBS)

# Fuzzers are built by clang in a build of their own. What they define themselves takes the place of the real thing.
$(BUILD)/fuzz/%: fuzz/%.c $(wildcard fuzz/*.h) $(BUILD)/daemons.a $(BUILD)/core.a
	@mkdir -p $(@D)
	@echo "  LD $@"
	$(Q)$(CC) $(CFLAGS) -fsanitize=fuzzer $(LDFLAGS) -Wl,--allow-multiple-definition -Ifuzz -MD -MP -o $@ $< \
		$(BUILD)/daemons.a $(BUILD)/core.a $(LIBS)
$(BUILD)/fuzz/seeds: fuzz/seeds.c fuzz/seeds_daemons.c fuzz/seeds.h $(BUILD)/daemons.a $(BUILD)/core.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -Ifuzz -o $@ $(filter %.c,$^) $(BUILD)/daemons.a $(BUILD)/core.a $(LIBS)
fuzzers: $(FUZZ_BIN) $(BUILD)/fuzz/seeds

tools: $(UNIT_BIN) $(SIM_BIN) $(VICTIM_BIN) $(TOOL_BIN) $(STRIKE)

deps:
	@contrib/deps.sh

# --- tests ---
# Unit tests and simulations are cmocka programs; everything else is *.bats (or TAP scripts, *.t). prove runs them all and its
# last line is the verdict.
BATS := $(wildcard tests/lab/*.bats)
TAP := $(wildcard tests/lab/*.t)
MODEL := $(wildcard tests/model/*.t)
PROVE := prove --timer --failures --comments --merge $(if $(V),-v) --exec 'contrib/tap.sh'
# LeakSanitizer works by ptrace, and so do the movers.
TEST_ENV := BUILD=$(abspath $(BUILD)) CMOCKA_MESSAGE_OUTPUT=TAP $(if $(SAN),ASAN_OPTIONS=detect_leaks=0)

unit: $(UNIT_BIN)
	$(Q)$(TEST_ENV) $(PROVE) $^
sim: $(SIM_BIN)
	$(Q)$(TEST_ENV) $(PROVE) $^
lab-tests: all tools
	$(Q)$(TEST_ENV) $(PROVE) $(BATS) $(TAP)
# FAULTS_TALK=1: the job that moves is in conversations, as a client and as a server.
# Every instant: hours. FAULTS_STRIDE=7 is one in seven; in the standstills each costs ten seconds.
FAULTS_STRIDE ?= 1
FAULTS_STOP_STRIDE ?= 29
faults: all tools $(BUILD)/tests/sim/commit_sim
	@rm -f $(BUILD)/instants
	$(Q)export $(TEST_ENV) FAULTS_ALL=1 TEST_TIMEOUT=36000 INSTANTS_TOTALS=$(abspath $(BUILD))/instants; failed=0; \
	INSTANTS_STRIDE=$(FAULTS_STRIDE) $(PROVE) -v $(wildcard tests/lab/instants*.t) || failed=1; \
	INSTANTS_HOW=STOP INSTANTS_STRIDE=$(FAULTS_STOP_STRIDE) $(PROVE) -v $(wildcard tests/lab/instants*.t) || failed=1; \
	$(PROVE) -v $(wildcard tests/lab/faults_*.t) tests/lab/restart.t || failed=1; \
	FAULTS_TALK=1 $(PROVE) -v $(wildcard tests/lab/faults_*.t) || failed=1; \
	COMMIT_FAULTS=3 $(PROVE) -v $(BUILD)/tests/sim/commit_sim || failed=1; \
	tests/lab/instants_totals.sh $(BUILD)/instants; exit $$failed
# Who may do what, as a lab of four hosts shows it: docs/security.md.
security-table: all tools
	$(Q)$(TEST_ENV) tests/lab/who_may.t --write
model:
	$(Q)prove --verbose --timer --exec contrib/tap.sh $(MODEL)
check: deps
	$(Q)$(MAKE) --no-print-directory all tools
	$(Q)$(TEST_ENV) $(PROVE) $(BESIDE) contrib/lint/lint.t $(UNIT_BIN) $(SIM_BIN) $(MODEL) $(BATS) $(TAP)
# The same with real programs at full size, moved until they end, and a thousand moves of one job.
check-long: deps
	$(Q)$(MAKE) --no-print-directory all tools
	$(Q)$(TEST_ENV) PROGRAMS_MB=200 PROGRAMS_MOVES=0 LEAKS_MOVES=1000 TEST_TIMEOUT=7200 $(PROVE) \
		tests/lab/programs.t tests/lab/leaks.t

# A million transactions between partners that move all the time, over a good network and over a bad one; a freeze of ten
# minutes; servers of ten thousand files; a call that takes three minutes.
soak: deps
	$(Q)$(MAKE) --no-print-directory all tools
	$(Q)for faults in none "loss=5 twice=5 late=5"; do $(TEST_ENV) SOAK_CALLS=300000 SOAK_MOVES=300 \
		SOAK_FAULTS="$$faults" TEST_TIMEOUT=7200 $(PROVE) -v tests/lab/soak.t || exit 1; done
	$(Q)$(TEST_ENV) FREEZE_MIB=80 FREEZE_RATE=1mbit FREEZE_LEAST=600000 OBJECTS_FILES=10000 OBJECTS_WORK=400 \
		TALK_PAUSE=180 TEST_TIMEOUT=7200 $(PROVE) -v tests/lab/freeze.t tests/lab/objects.t tests/lab/talk.t

FUZZ_TIME ?= 60
FUZZ_SAN := -fsanitize=address$(,)undefined
fuzz-build:
	$(Q)$(MAKE) --no-print-directory BUILD=build-fuzz CC="$(if $(shell command -v ccache),ccache )clang" WARN= \
		HARDEN="$(FUZZ_SAN) -fsanitize=fuzzer-no-link -fno-sanitize-recover=undefined -fno-omit-frame-pointer" \
		LDFLAGS="-pie $(FUZZ_SAN)" CFLAGS="-O1 -g" fuzzers
fuzz: fuzz-build
	$(Q)fuzz/run -t $(FUZZ_TIME) $(FUZZ_BIN:$(BUILD)/%=build-fuzz/%)
fuzz-smoke: fuzz-build
	$(Q)fuzz/run -n 5000 $(FUZZ_BIN:$(BUILD)/%=build-fuzz/%)

demo: deps
	$(Q)$(MAKE) --no-print-directory all
	$(Q)BUILD=$(abspath $(BUILD)) contrib/demo.sh
bench: deps
	$(Q)$(MAKE) --no-print-directory all tools
	$(Q)BUILD=$(abspath $(BUILD)) bench/run
	$(Q)BUILD=$(abspath $(BUILD)) bench/image
	$(Q)BUILD=$(abspath $(BUILD)) bench/talk

# --- lint ---
FORMATTED = $(wildcard include/*.h) $(shell find src tests bench fuzz -name '*.[ch]' 2>/dev/null)
MAN := $(wildcard man/*.[1-8])

format:
	$(Q)clang-format -i $(FORMATTED)

LINTS := layers sizes format manuals cppcheck
.PHONY: $(LINTS:%=lint-%)
lint: $(LINTS:%=lint-%)
lint-layers:
	$(Q)contrib/lint/layers.sh
lint-sizes:
	$(Q)contrib/lint/sizes.sh
lint-format:
	$(Q)clang-format --dry-run -Werror $(FORMATTED)
lint-manuals:
	$(Q)mandoc -Tlint -W warning $(MAN)
	$(Q)contrib/lint/manuals.sh
lint-cppcheck:
	$(Q)cppcheck --quiet --error-exitcode=1 --inline-suppr --enable=portability --std=c11 --language=c -Isrc -Iinclude \
		$(addprefix --include=,$(firstword $(wildcard /usr/include/*/sys/queue.h /usr/include/sys/queue.h))) \
		--suppressions-list=contrib/lint/cppcheck -j2 src

# --- install ---
DESTDIR ?=
UNITS := $(wildcard contrib/systemd/*.service)

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/godwit $(DESTDIR)$(PREFIX)/include
	install $(BUILD)/bin/godwit $(DESTDIR)$(PREFIX)/bin
	install $(filter-out %/godwit,$(PROG_BIN)) $(DESTDIR)$(PREFIX)/libexec/godwit
	install -m 644 $(wildcard include/*.h) $(DESTDIR)$(PREFIX)/include
	install -d $(DESTDIR)$(PREFIX)/lib
	install -m 644 $(BUILD)/libgodwit.a $(DESTDIR)$(PREFIX)/lib
	$(foreach s,1 3 5 7 8,install -d $(DESTDIR)$(PREFIX)/share/man/man$(s)$(if $(wildcard man/*.$(s)), && \
		install -m 644 $(wildcard man/*.$(s)) $(DESTDIR)$(PREFIX)/share/man/man$(s));)
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	for u in $(UNITS); do sed 's|@PREFIX@|$(PREFIX)|g' $$u >$(DESTDIR)$(PREFIX)/lib/systemd/system/$${u##*/}; done
	install -d $(DESTDIR)$(PREFIX)/lib/sysusers.d
	install -m 644 contrib/systemd/godwit.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/godwit.conf
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install -m 644 contrib/completion.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/godwit

clean:
	rm -rf build build-san build-fuzz

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
