/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CPU. Programs ask it once what it can do and remember the answer, so the destination must be able to do all
 * that the source can. Nothing is collected or restored; this is a requirement.
 */
#include <cpuid.h>
#include <errno.h>
#include <string.h>

#include "base/kernel.h"
#include "base/util.h"
#include "state/thread.h"
#include "state/xstate.h"

enum { EAX, EBX, ECX, EDX };

/* The words of CPUID that list features. Their order is part of the message. */
static const struct {
	uint32_t leaf, sub;
	int reg;
} words[] = {
	{ 1, 0, ECX }, { 1, 0, EDX }, { 7, 0, EBX },   { 7, 0, ECX },	       { 7, 0, EDX },
	{ 7, 1, EAX }, { 7, 1, EDX }, { 0xd, 1, EAX }, { 0x80000001, 0, ECX }, { 0x80000001, 0, EDX },
};

/* Features that people know by name; hidden by it, too (GODWIT_HIDE=avx2). */
static const struct {
	const char *name;
	unsigned word, bit;
} names[] = {
	{ "sse3", 0, 0 },      { "ssse3", 0, 9 },    { "fma", 0, 12 },	    { "sse4.1", 0, 19 },
	{ "sse4.2", 0, 20 },   { "popcnt", 0, 23 },  { "aes", 0, 25 },	    { "xsave", 0, 26 },
	{ "avx", 0, 28 },      { "f16c", 0, 29 },    { "rdrand", 0, 30 },   { "bmi1", 2, 3 },
	{ "avx2", 2, 5 },      { "bmi2", 2, 8 },     { "erms", 2, 9 },	    { "avx512f", 2, 16 },
	{ "avx512dq", 2, 17 }, { "rdseed", 2, 18 },  { "avx512bw", 2, 30 }, { "avx512vl", 2, 31 },
	{ "vaes", 3, 9 },      { "rdpid", 3, 22 },   { "amx-bf16", 4, 22 }, { "amx-tile", 4, 24 },
	{ "amx-int8", 4, 25 }, { "avx-vnni", 5, 4 }, { "xsavec", 7, 1 },    { "lzcnt", 8, 5 },
	{ "sse4a", 8, 6 },     { "rdtscp", 9, 27 },
};

/* Bits that say something about the moment or the topology instead of what programs may use: x2APIC, hypervisor,
 * OS protection keys that follow boot options, hybrid parts, speculation control. */
static uint32_t volatile_bits(size_t word)
{
	switch (word) {
	case 0:
		return 1u << 21 | 1u << 31 | 1u << 3 | 1u << 15 | 1u << 24;
	case 1:
		return 1u << 9 | 1u << 28;
	case 4:
		return 0xfc00c400u;
	default:
		return 0;
	}
}

static void read_words(uint32_t out[ARRAY_LEN(words)])
{
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		uint32_t r[4] = { 0 };

		if (__get_cpuid_max(words[i].leaf & 0x80000000, NULL) >= words[i].leaf)
			__cpuid_count(words[i].leaf, words[i].sub, r[EAX], r[EBX], r[ECX], r[EDX]);
		out[i] = r[words[i].reg] & ~volatile_bits(i);
	}
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (kernel_hidden(names[i].name))
			out[names[i].word] &= ~(1u << names[i].bit);
}

static int check(struct state_source *s, struct err *e)
{
	uint32_t have[ARRAY_LEN(words)];

	(void)e;
	if (!s->requirements)
		return 0;
	read_words(have);
	s->requirements->cpu.data = xmalloc(sizeof have);
	s->requirements->cpu.len = sizeof have;
	memcpy(s->requirements->cpu.data, have, sizeof have);
	s->requirements->xfeatures = xstate_features();
	s->requirements->xstate_size = xstate_size();
	return 0;
}

static void lacking(struct state_target *d, unsigned word, unsigned bit)
{
	const char *help = "choose a host whose CPU can do at least as much";

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (names[i].word == word && names[i].bit == bit) {
			problem_add(d->problems, 0, -1, "cpu", help, "this host's CPU lacks %s", names[i].name);
			return;
		}
	problem_add(d->problems, 0, -1, "cpu", help, "this host's CPU lacks feature bit %u of CPUID leaf %#x.%u",
		    bit, words[word].leaf, words[word].sub);
}

static int admit(struct state_target *d, const Godwit__Ckpt__Requirements *q, struct err *e)
{
	uint32_t have[ARRAY_LEN(words)], want[ARRAY_LEN(words)];

	(void)e;
	if (q->cpu.len != sizeof want)
		return err_set(e, -EPROTO, "the requirements name %zu bytes of CPU features", q->cpu.len);
	memcpy(want, q->cpu.data, sizeof want);
	read_words(have);
	for (unsigned i = 0; i < ARRAY_LEN(words); i++)
		for (unsigned bit = 0; bit < 32; bit++)
			if ((want[i] & ~have[i]) >> bit & 1)
				lacking(d, i, bit);
	if (q->xfeatures & ~xstate_features())
		problem_add(d->problems, 0, -1, "cpu", "choose a host whose CPU can do at least as much",
			    "this host lacks vector state %#llx",
			    (unsigned long long)(q->xfeatures & ~xstate_features()));
	return 0;
}

const struct state_module state_cpu = {
	.name = "cpu",
	.phase = STATE_PROCESS,
	.check = check,
	.admit = admit,
};
