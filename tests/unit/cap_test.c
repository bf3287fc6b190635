/* SPDX-License-Identifier: Apache-2.0 */
/* Capabilities: what restricts them, and what they look like. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/util.h"
#include "godwit.h"

static struct gw_cap make(uint32_t rights, uint8_t secret[GW_CHECK_LEN])
{
	struct gw_cap cap = { .port = gw_port_from_name("job:x") };

	gw_secret_random(secret);
	gw_private_make(&cap.priv, 0x1234567890abcdef, rights, secret);
	return cap;
}

static void test_text_and_back(void **state)
{
	char text[GW_CAP_TEXT_MAX], loose[GW_CAP_TEXT_MAX + 4];
	uint8_t secret[GW_CHECK_LEN];
	struct gw_cap cap = make(GW_PSR_READ, secret), back;

	(void)state;
	gw_cap_print(&cap, text);
	assert_int_equal(strlen(text), strlen("gwcap:") + 32 + 1 + 16 + 1 + 8 + 1 + 32);
	assert_int_equal(gw_cap_parse(text, &back), GW_OK);
	assert_memory_equal(&cap.port, &back.port, sizeof cap.port);
	assert_int_equal(cap.priv.object, back.priv.object);
	assert_int_equal(cap.priv.rights, back.priv.rights);
	assert_memory_equal(cap.priv.check, back.priv.check, GW_CHECK_LEN);
	(void)snprintf(loose, sizeof loose, " %s\r\n", text);
	assert_int_equal(gw_cap_parse(loose, &back), GW_OK);
}

static void test_form_is_stable(void **state)
{
	struct gw_cap cap = { .priv = { .object = 1, .rights = 0x41 } };
	char text[GW_CAP_TEXT_MAX];

	(void)state;
	memset(cap.port.bytes, 0xab, sizeof cap.port.bytes);
	memset(cap.priv.check, 0x0c, sizeof cap.priv.check);
	gw_cap_print(&cap, text);
	assert_string_equal(text, "gwcap:abababababababababababababababab:0000000000000001:00000041:"
				  "0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c");
}

static void test_other_text_is_none(void **state)
{
	char text[GW_CAP_TEXT_MAX], bad[GW_CAP_TEXT_MAX + 1];
	uint8_t secret[GW_CHECK_LEN];
	struct gw_cap cap = make(GW_RIGHTS_ALL, secret), back;

	(void)state;
	gw_cap_print(&cap, text);
	for (size_t len = 0; len < strlen(text); len++) {
		(void)snprintf(bad, sizeof bad, "%.*s", (int)len, text);
		assert_int_equal(gw_cap_parse(bad, &back), GW_STD_ARGBAD);
		(void)snprintf(bad, sizeof bad, "%s", text);
		bad[len] = 'G'; /* in no word and no number */
		assert_int_equal(gw_cap_parse(bad, &back), GW_STD_ARGBAD);
	}
	(void)snprintf(bad, sizeof bad, "%s0", text);
	assert_int_equal(gw_cap_parse(bad, &back), GW_STD_ARGBAD);
	assert_int_equal(gw_cap_parse("", &back), GW_STD_ARGBAD);
}

static void test_rights(void **state)
{
	static const struct {
		const char *text;
		uint32_t rights;
	} good[] = {
		{ "read", GW_PSR_READ },
		{ "read,write,checkpoint,delete,kill,stun,migrate,owner,output,attach", 0x7ef },
		{ "all", GW_RIGHTS_ALL },
		{ "stun,stun", GW_PSR_STUN },
		{ "0x80000041", 0x80000041u },
		{ "0", 0 },
	};
	static const char *const bad[] = { "",	 ",",		"read,", ",read", "rea", "reads",
					   "0x", "0x100000000", "-1",	 "12x",	  "ALL" };
	char text[GW_RIGHTS_TEXT_MAX];
	uint32_t rights;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_int_equal(gw_rights_parse(good[i].text, &rights), GW_OK);
		assert_int_equal(rights, good[i].rights);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(gw_rights_parse(bad[i], &rights), GW_STD_ARGBAD);
	gw_rights_print(GW_PSR_STUN | GW_PSR_READ, text);
	assert_string_equal(text, "read,stun");
	gw_rights_print(GW_PSR_STUN | 0x10000, text);
	assert_string_equal(text, "stun,0x10000");
	gw_rights_print(0, text);
	assert_string_equal(text, "0x0");
	gw_rights_print(GW_RIGHTS_ALL, text);
	assert_string_equal(text, "all");
	gw_rights_print(GW_RIGHTS_ALL - 1, text);
	assert_true(strlen(text) < sizeof text - 1);
}

static void test_restriction_only_takes_away(void **state)
{
	uint8_t secret[GW_CHECK_LEN];
	struct gw_cap all = make(GW_RIGHTS_ALL, secret), less, forged;
	uint32_t rights;

	(void)state;
	assert_int_equal(gw_private_check(&all.priv, secret, &rights), GW_OK);
	assert_int_equal(gw_cap_restrict(&all, GW_PSR_READ, &less), GW_OK);
	assert_int_equal(gw_private_check(&less.priv, secret, &rights), GW_OK);
	assert_int_equal(rights, GW_PSR_READ);
	assert_int_equal(gw_cap_restrict(&less, 0, &forged), GW_STD_DENIED);
	for (unsigned bit = 0; bit < 32; bit++) { /* any other rights, also fewer, under the same check */
		forged = less;
		forged.priv.rights ^= 1u << bit;
		assert_int_equal(gw_private_check(&forged.priv, secret, &rights), GW_STD_CAPBAD);
	}
	forged = less;
	forged.priv.rights = GW_RIGHTS_ALL;
	assert_int_equal(gw_private_check(&forged.priv, secret, &rights), GW_STD_CAPBAD);
	forged = less;
	forged.priv.object++;
	assert_int_equal(gw_private_check(&forged.priv, secret, &rights), GW_STD_CAPBAD);
	assert_memory_not_equal(less.priv.check, secret, GW_CHECK_LEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_and_back),
		cmocka_unit_test(test_form_is_stable),
		cmocka_unit_test(test_other_text_is_none),
		cmocka_unit_test(test_rights),
		cmocka_unit_test(test_restriction_only_takes_away),
	};

	return sodium_init() < 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
