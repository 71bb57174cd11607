/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <gst/gst.h>
#include <partime/partime.h>

G_BEGIN_DECLS

#define GST_PARTIME_META_NAME "GstPartimeMeta"

void gst_partime_meta_register (void);
void gst_partime_meta_set_score (GstBuffer *buffer, gdouble score);
void gst_partime_meta_attach (GstBuffer *buffer, PtResult *result,
    guint64 frame, guint64 age, GstClockTime pts, GstCaps *caps,
    const GPtrArray *infos);
GPtrArray *gst_partime_meta_new_infos (PtNetwork *network);
gboolean gst_partime_meta_equal_infos (GPtrArray *a, GPtrArray *b);
GstMemory *gst_partime_meta_new_memory (PtResult *result, guint index);

G_END_DECLS
