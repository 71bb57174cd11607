/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "gstpartimefilter.h"
#include "labels.h"
#include "meta.h"

static gboolean
plugin_init (GstPlugin *plugin)
{
  gst_partime_meta_register ();
  gst_partime_labels_register ();
  return GST_ELEMENT_REGISTER (partimefilter, plugin);
}

GST_PLUGIN_DEFINE (GST_VERSION_MAJOR, GST_VERSION_MINOR, partimefilter,
    "Networks that go on learning from the video they run on", plugin_init,
    VERSION, "LGPL", PACKAGE, "https://arxiv.org/abs/2210.09147")
