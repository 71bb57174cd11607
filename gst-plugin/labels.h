/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Labels, from wherever they come to the frame that learns from them.
 * label-target.c: what they become; label-pad.c: the pad; label-match.c: which
 * frame they are for; labels.c: those that wait. */

#pragma once

#include "gstpartimefilter.h"
#include "label-target.h"

G_BEGIN_DECLS

#define GST_PARTIME_LABEL_NAME "GstPartimeLabel"

/* A target that waits for its frame. */
typedef struct
{
  GList link;
  PtTensor *target;
  GstClockTime time;            /* running time */
  gboolean from_pad;
  guint era;                    /* of what it was made for */
  GstSample *origin;            /* a copy of what came by the pad, if it may
                                 * have to be made again; or NULL */
} GstPartimeLabel;

/* Part of the element. */
typedef struct
{
  /* From open to close. */
  gboolean wanted;              /* the network learns from labels */
  gboolean unbound;             /* what it learns from only caps will tell;
                                 * changes with making held, as the next */
  gboolean is_open;             /* caps may change what it learns from */
  gchar *refusal;               /* why a label pad makes no sense, or NULL */
  GstPartimeTarget target;
  guint max_waiting;            /* labels of the pad */

  /* Sink pad's thread. */
  GstPartimeLabelFormat own_format;
  GstPartimeLabel *next;        /* for the frame that comes next */

  GMutex making;                /* held while labels of the pad are made, and
                                 * while what they are for changes */
  /* Label pad's thread. */
  GstPartimeLabelFormat format;
  GstSegment segment;

  /* Under the element's lock, whose cond says that any of it changed. */
  GstPad *pad;                  /* lent; NULL: not requested */
  gboolean active, flushing, eos;
  GThread *thread, *frame_thread;       /* who was last at either pad */
  gboolean seeking;             /* frames until the flush are of no account */
  GstClockTime passed;          /* running time the label stream has come to */
  guint era;                    /* rises as what labels are for changes */
  GQueue waiting;               /* by time */
  guint n_waiting;              /* of the pad */
  GQueue spare;
  GstClockTime last;            /* running time of the newest frame */
  gboolean told_waiting;
  guint told;                   /* bits: causes of bad labels */
  guint64 n_labels, n_unlabelled, n_late, n_bad;
} GstPartimeLabels;

/* labels.c */
void gst_partime_labels_register (void);
void gst_partime_labels_init (GstPartimeFilter *self);
void gst_partime_labels_clear (GstPartimeFilter *self);
void gst_partime_labels_close (GstPartimeFilter *self);
void gst_partime_labels_flush (GstPartimeFilter *self);
void gst_partime_labels_note_thread (GstPartimeFilter *self);
void gst_partime_labels_note_event (GstPartimeFilter *self, GstEvent *event);
void gst_partime_labels_fill_stats (GstPartimeFilter *self,
    GstStructure *structure);
GstClockTime gst_partime_labels_get_latency (GstPartimeFilter *self);
void gst_partime_labels_give_back (GstPartimeFilter *self,
    GstPartimeLabel *label);

/* label-match.c */
GstFlowReturn gst_partime_labels_take (GstPartimeFilter *self,
    GstBuffer *buffer, GstPartimeLabel **label);

/* labels.c, for the other two. */
gint64 gst_partime_labels_get_patience (GstPartimeFilter *self);
void gst_partime_labels_remove (GstPartimeLabels *self,
    GstPartimeLabel *label);
GstPartimeLabel *gst_partime_labels_new (GstPartimeFilter *self);
void gst_partime_labels_insert (GstPartimeFilter *self,
    GstPartimeLabel *label);
void gst_partime_labels_spare (GstPartimeLabels *self,
    GstPartimeLabel *label);
void gst_partime_labels_drop_waiting (GstPartimeFilter *self,
    gboolean from_pad);
void gst_partime_labels_note_bad (GstPartimeFilter *self,
    const GError *error);

/* label-pad.c */
void gst_partime_label_pad_install (GstElementClass *klass);
gboolean gst_partime_label_pad_must_wait (GstPartimeFilter *self,
    GstClockTime time, GstClockTime ahead);
gboolean gst_partime_label_pad_seek (GstPartimeFilter *self,
    GstEvent *event);
void gst_partime_label_pad_stop_seek (GstPartimeFilter *self);

G_END_DECLS
