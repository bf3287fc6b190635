/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "memory/vma.h"
#include "state/mm.h"

/* Our own vDSO plays the foreign one. */
static const uint8_t *own_vdso(size_t *len)
{
	_cleanup_fd_ int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	uint64_t at = getauxval(AT_SYSINFO_EHDR);
	struct vma_list l = { 0 };
	const struct vma *v;

	assert_int_equal(vma_list_read(&l, fd, NULL), 0);
	v = vma_list_find(&l, at);
	if (!at || !v) {
		print_message("SKIP this kernel gives no vDSO\n");
		skip();
	}
	*len = v->end - v->start;
	vma_list_done(&l);
	return (const uint8_t *)at;
}

/* Every exported function of the copy jumps to the same place in the original. */
static void test_functions_jump(void **state)
{
	size_t len;
	const uint8_t *own = own_vdso(&len);
	uint8_t *copy = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int (*gettime)(clockid_t, struct timespec *);
	struct timespec t, after;
	void *vdso, *symbol;
	struct err e = { 0 };
	int jumps = 0;

	(void)state;
	memcpy(copy, own, len);
	assert_int_equal(vdso_bridge(copy, len, own, len, (uintptr_t)own, &e), 0);
	for (size_t i = 0; i + 14 <= len; i++) {
		uint64_t to;

		if (memcmp(copy + i, "\xff\x25\0\0\0", 6))
			continue;
		memcpy(&to, copy + i + 6, 8);
		jumps += to - (uintptr_t)own == i;
	}
	assert_true(jumps >= 4);
	/* And a call through the copy does what a call of the original does. */
	assert_int_equal(mprotect(copy, len, PROT_READ | PROT_EXEC), 0);
	vdso = dlopen("linux-vdso.so.1", RTLD_LAZY | RTLD_NOLOAD);
	symbol = vdso ? dlsym(vdso, "__vdso_clock_gettime") : NULL;
	assert_non_null(symbol);
	gettime = (int (*)(clockid_t, struct timespec *))((uintptr_t)symbol - (uintptr_t)own + (uintptr_t)copy);
	assert_int_equal(gettime(CLOCK_MONOTONIC, &t), 0);
	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &after), 0);
	assert_true(t.tv_sec == after.tv_sec || t.tv_sec + 1 == after.tv_sec);
	(void)munmap(copy, len);
}

static void test_nonsense(void **state)
{
	size_t len;
	const uint8_t *own = own_vdso(&len);
	uint8_t *copy = malloc(len);
	struct err e = { 0 };
	int result;

	(void)state;
	memset(copy, 0, len);
	assert_int_equal(vdso_bridge(copy, len, own, len, 0, &e), -ENOEXEC);
	/* cut anywhere, and every byte of the headers turned: an error or a bridge, never a crash */
	for (size_t cut = 0; cut < len; cut += 61) {
		uint8_t *exact = malloc(cut + 1);

		memcpy(exact, own, cut);
		result = vdso_bridge(exact, cut, own, len, 0, &e);
		assert_true(result <= 0);
		free(exact);
	}
	for (size_t i = 0; i < 2048 && i < len; i++) {
		memcpy(copy, own, len);
		copy[i] ^= 0xff;
		result = vdso_bridge(copy, len, own, len, 0, &e);
	}
	free(copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_functions_jump),
		cmocka_unit_test(test_nonsense),
	};

	return cmocka_run_group_tests_name("vdso", tests, NULL, NULL);
}
