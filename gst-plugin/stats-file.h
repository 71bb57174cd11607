/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

/* Statistics as JSON lines: one object in each line, appended. */
typedef struct _GstPartimeStatsFile GstPartimeStatsFile;

GstPartimeStatsFile *gst_partime_stats_file_open (const gchar *path,
    GError **error);
void gst_partime_stats_file_close (GstPartimeStatsFile *self);
gboolean gst_partime_stats_file_write (GstPartimeStatsFile *self,
    const GstStructure *stats, GError **error);
gchar *gst_partime_stats_file_print (const GstStructure *stats);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (GstPartimeStatsFile,
    gst_partime_stats_file_close)

G_END_DECLS
