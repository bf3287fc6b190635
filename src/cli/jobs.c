/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/jobs.h"

#include <string.h>

#include "base/util.h"

const char *job_state_name(Godwit__Procd__State state)
{
	static const char *const names[] = {
		[GODWIT__PROCD__STATE__RUNNING] = "running",   [GODWIT__PROCD__STATE__STOPPED] = "stopped",
		[GODWIT__PROCD__STATE__STUNNED] = "stunned",   [GODWIT__PROCD__STATE__MIGRATING] = "migrating",
		[GODWIT__PROCD__STATE__IN_DOUBT] = "in doubt", [GODWIT__PROCD__STATE__EXITED] = "exited",
		[GODWIT__PROCD__STATE__ARRIVING] = "arriving",
	};

	return (size_t)state < ARRAY_LEN(names) && names[state] ? names[state] : "?";
}

char *job_command(const Godwit__Procd__Job *job)
{
	size_t room = 1;
	char *text, *at;

	for (size_t i = 0; i < job->n_command; i++)
		room += strlen(job->command[i]) + 1;
	text = at = xmalloc(room);
	for (size_t i = 0; i < job->n_command; i++) {
		if (i)
			*at++ = ' ';
		for (const char *c = job->command[i]; *c; c++)
			*at++ = (unsigned char)*c < ' ' || *c == 127 ? '?' : *c;
	}
	*at = '\0';
	return text;
}

int job_exit_status(const Godwit__Procd__Exited *exited)
{
	return exited->signal ? 128 + exited->signal : exited->status & 255;
}

/* JSON strings are UTF-8; what is not (a command's arguments may be anything) is shown byte by byte as Latin-1. */
static json_t *any_string(const char *s)
{
	json_t *o = json_string(s);
	_cleanup_free_ char *utf8 = NULL;
	char *at;

	if (o)
		return o;
	utf8 = at = xmalloc(2 * strlen(s) + 1);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c >= 128)
			*at++ = (char)(0xc0 | c >> 6);
		*at++ = (char)(c >= 128 ? 0x80 | (c & 0x3f) : c);
	}
	*at = '\0';
	return json_string(utf8);
}

json_t *job_json(const Godwit__Procd__Job *job)
{
	json_t *o = json_object(), *command = json_array();

	for (size_t i = 0; i < job->n_command; i++)
		json_array_append_new(command, any_string(job->command[i]));
	json_object_set_new(o, "job", any_string(job->name));
	json_object_set_new(o, "host", any_string(job->host));
	json_object_set_new(o, "state", json_string(job_state_name(job->state)));
	json_object_set_new(o, "pid", json_integer(job->pid));
	json_object_set_new(o, "inner_pid", json_integer(job->inner_pid));
	json_object_set_new(o, "uid", json_integer(job->uid));
	json_object_set_new(o, "command", command);
	json_object_set_new(o, "started_us", json_integer(job->started_us));
	json_object_set_new(o, "incarnation", json_integer((json_int_t)job->incarnation));
	json_object_set_new(o, "moves", json_integer((json_int_t)job->moves));
	json_object_set_new(o, "memory", json_integer((json_int_t)job->memory));
	json_object_set_new(o, "threads", json_integer(job->threads));
	json_object_set_new(o, "terminal", json_boolean(job->terminal));
	json_object_set_new(o, "attached", json_boolean(job->attached));
	json_object_set_new(o, "carry", json_boolean(job->carry));
	if (*job->destination) {
		json_object_set_new(o, "destination", any_string(job->destination));
		json_object_set_new(o, "stage", any_string(job->stage));
		json_object_set_new(o, "migration", any_string(job->migration));
	}
	if (job->exited) {
		json_object_set_new(o, "status", json_integer(job_exit_status(job->exited)));
		json_object_set_new(o, "signal", json_integer(job->exited->signal));
	}
	return o;
}

json_t *problems_json(size_t n, Godwit__Mover__Problem *const *problems)
{
	json_t *a = json_array();

	for (size_t i = 0; i < n; i++) {
		const Godwit__Mover__Problem *p = problems[i];
		json_t *o = json_object();

		json_object_set_new(o, "pid", json_integer(p->pid));
		json_object_set_new(o, "fd", json_integer(p->fd));
		json_object_set_new(o, "object", any_string(p->object));
		json_object_set_new(o, "reason", any_string(p->reason));
		json_object_set_new(o, "help", any_string(p->help));
		json_array_append_new(a, o);
	}
	return a;
}
