/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_MOVER_IMAGE_H
#define GW_MOVER_IMAGE_H

#include "mover/mover.h"

/*
 * An image as one end of a migration. image_save.c plays the destination: it takes in what a source sends and
 * writes it down. image_load.c plays the source: it reads and sends what a destination builds from. The other end
 * is the one that hosts have, and does not know the difference. Both run with the rights of whoever asked.
 */

/* To the destination: everything from the connection to READY, when the job may go on; and what can wait until
 * then.
 */
stage_fn image_save, image_keep;
void image_save_done(struct mover *m);
/* To the source: opens the image, in place of check. */
stage_fn image_load;
/* The source's prepare and move, connected. */
int image_introduce(struct mover *m, struct err *e) must_check;
int image_send(struct mover *m, struct err *e) must_check;
/* New probes in place of those of the checkpoint, as requirements; the second ends both. */
void image_probes_make(Godwit__Ckpt__Requirements *q);
void image_probes_remove(Godwit__Ckpt__Requirements *q);
void image_load_done(struct mover *m);

#endif
