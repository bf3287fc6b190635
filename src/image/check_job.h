/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_IMAGE_CHECK_JOB_H
#define GW_IMAGE_CHECK_JOB_H

#include <stdbool.h>

#include "base/err.h"
#include "checkpoint.pb-c.h"

/*
 * What must be true of a checkpoint message wherever it comes from: shapes, bounds, order, and that everything
 * that is referred to exists. -EBADMSG, in words that name what is wrong. Whether it can be restored on this host,
 * and whether its source may ask for it, is the business of src/state.
 */
#define CHECK_USER_END (UINT64_C(1) << 47)
#define CHECK_REGIONS_MAX (1u << 20)
#define CHECK_FILES_MAX (2u << 20)

/* A process alone. `whole`: as of the stop; a description may lack much. */
int process_check(const Godwit__Ckpt__Process *p, bool whole, struct err *e) must_check;
/* What the processes share. */
int objects_check(const Godwit__Ckpt__Job *job, struct err *e) must_check;
/* What a process refers to is in the job or, if there is one, in its description. */
int references_check(const Godwit__Ckpt__Process *p, const Godwit__Ckpt__Job *job, const Godwit__Ckpt__Job *early,
		     struct err *e) must_check;
/* All of it, of a job of one process. `early`: its description; NULL: this is the description. */
int job_check(const Godwit__Ckpt__Job *job, const Godwit__Ckpt__Job *early, struct err *e) must_check;
int requirements_check(const Godwit__Ckpt__Requirements *q, struct err *e) must_check;

/* check_thread.c */
int threads_check(const Godwit__Ckpt__Process *p, bool whole, struct err *e) must_check;
int queue_check(const ProtobufCBinaryData *list, size_t n, struct err *e) must_check;

/* check_files.c */
/* An absolute name without detours. */
bool name_is_straight(const char *path);
int file_check(const Godwit__Ckpt__OpenFile *m, struct err *e) must_check;
int files_check(const Godwit__Ckpt__Job *job, struct err *e) must_check;

/* True if a number comes twice; sorts them. */
bool numbers_repeat(uint64_t *v, size_t n);

#endif
