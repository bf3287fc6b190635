/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "image/private.h"

bool page_is_zero(const uint8_t *page)
{
	/* memcmp of a page with itself, shifted: as fast as memory, without a page of zeros in the cache. */
	return !page[0] && !memcmp(page, page + 1, IMAGE_PAGE - 1);
}

void contents_hash_init(struct contents_hash *h)
{
	(void)crypto_generichash_init(&h->state, NULL, 0, IMAGE_HASH_LEN);
}

void page_hash(const uint8_t *page, uint8_t ret[IMAGE_HASH_LEN])
{
	if (page_is_zero(page))
		memset(ret, 0, IMAGE_HASH_LEN);
	else
		(void)crypto_generichash(ret, IMAGE_HASH_LEN, page, IMAGE_PAGE, NULL, 0);
}

void contents_hash_add_page(struct contents_hash *h, uint32_t space, uint64_t at,
			    const uint8_t hash[IMAGE_HASH_LEN])
{
	uint8_t head[12];

	if (sodium_is_zero(hash, IMAGE_HASH_LEN))
		return;
	for (unsigned i = 0; i < 4; i++)
		head[i] = (uint8_t)(space >> 8 * i);
	for (unsigned i = 0; i < 8; i++)
		head[4 + i] = (uint8_t)(at >> 8 * i);
	(void)crypto_generichash_update(&h->state, head, sizeof head);
	(void)crypto_generichash_update(&h->state, hash, IMAGE_HASH_LEN);
}

void contents_hash_add(struct contents_hash *h, uint32_t space, uint64_t start, const uint8_t *bytes, size_t len)
{
	uint8_t hash[IMAGE_HASH_LEN];

	for (size_t at = 0; at < len; at += IMAGE_PAGE) {
		page_hash(bytes + at, hash);
		contents_hash_add_page(h, space, start + at, hash);
	}
}

void contents_hash_end(struct contents_hash *h, uint8_t ret[IMAGE_HASH_LEN])
{
	(void)crypto_generichash_final(&h->state, ret, IMAGE_HASH_LEN);
}
