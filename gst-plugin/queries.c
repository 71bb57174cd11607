/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the pads answer: caps, buffers, latency. */

#include "gstpartimefilter-private.h"

/* Frames that wait for their result are missing from the pools they are
 * of; a pool that may not grow by as many would stand still. */
static void
queries_widen_pools (GstQuery *query)
{
  const guint waiting = 8;

  for (guint i = gst_query_get_n_allocation_pools (query); i-- > 0;) {
    g_autoptr (GstBufferPool) pool = NULL;
    guint size, min, max;

    gst_query_parse_nth_allocation_pool (query, i, &pool, &size, &min, &max);
    if (max > 0)
      gst_query_remove_nth_allocation_pool (query, i);
    else
      gst_query_set_nth_allocation_pool (query, i, pool, size, min + waiting,
          max);
  }
}

/* Strides of any kind are fine for us; where frames go on, also downstream has
 * to take them. */
static gboolean
queries_answer_allocation (GstPartimeFilter *self, GstQuery *query)
{
  GstPartimeItem item = {.kind = GST_PARTIME_QUERY,.object = query };

  if (self->output != GST_PARTIME_OUTPUT_FRAMES) {
    gst_query_add_allocation_meta (query, GST_VIDEO_META_API_TYPE, NULL);
    return TRUE;
  }
  if (self->timing == GST_PARTIME_TIMING_LATEST)
    return gst_pad_peer_query (self->srcpad, query);
  if (gst_partime_source_queue (self, &item, TRUE) != GST_FLOW_OK
      || !self->query_result)
    return FALSE;
  queries_widen_pools (query);
  return TRUE;
}

/* Any frames, where the network's picture goes on, which is in the host's
 * memory, or tensors: what the template has first, or last. */
static gboolean
queries_answer_any_caps (GstPad *pad, GstPartimeOutput output,
    GstQuery *query)
{
  GstCaps *caps = gst_pad_get_pad_template_caps (pad);
  GstCaps *filter;

  if (GST_PAD_IS_SRC (pad) && output == GST_PARTIME_OUTPUT_TENSORS)
    gst_caps_take (&caps, gst_caps_copy_nth (caps,
            gst_caps_get_size (caps) - 1));
  else if (GST_PAD_IS_SRC (pad))
    caps = gst_caps_truncate (caps);
  gst_query_parse_caps (query, &filter);
  if (filter) {
    GstCaps *both = gst_caps_intersect_full (filter, caps,
        GST_CAPS_INTERSECT_FIRST);

    gst_caps_take (&caps, both);
  }
  gst_query_set_caps_result (query, caps);
  gst_caps_unref (caps);
  return TRUE;
}

static gboolean
queries_answer_caps (GstPartimeFilter *self, GstPad *pad, GstQuery *query)
{
  GstPartimeOutput output;

  GST_OBJECT_LOCK (self);
  output = self->settings.output;
  GST_OBJECT_UNLOCK (self);
  if (output != GST_PARTIME_OUTPUT_FRAMES)
    return queries_answer_any_caps (pad, output, query);
  return gst_pad_proxy_query_caps (pad, query);
}

gboolean
gst_partime_filter_sink_query (GstPad *pad, GstObject *parent, GstQuery *query)
{
  GstPartimeFilter *self = GST_PARTIME_FILTER (parent);
  GstPartimeItem item = {.kind = GST_PARTIME_QUERY,.object = query };

  switch (GST_QUERY_TYPE (query)) {
    case GST_QUERY_CAPS:
      return queries_answer_caps (self, pad, query);
    case GST_QUERY_ALLOCATION:
      return queries_answer_allocation (self, query);
    case GST_QUERY_CONTEXT:
      if (gst_partime_filter_query_cuda (self, query))
        return TRUE;
      break;
    default:
      break;
  }
  if (GST_QUERY_IS_SERIALIZED (query)
      && self->timing == GST_PARTIME_TIMING_ALIGNED)
    return gst_partime_source_queue (self, &item, TRUE) == GST_FLOW_OK
        && self->query_result;
  return gst_pad_query_default (pad, parent, query);
}

gboolean
gst_partime_filter_src_query (GstPad *pad, GstObject *parent, GstQuery *query)
{
  GstPartimeFilter *self = GST_PARTIME_FILTER (parent);

  if (GST_QUERY_TYPE (query) == GST_QUERY_LATENCY)
    return gst_partime_filter_query_latency (self, query);
  if (GST_QUERY_TYPE (query) == GST_QUERY_CAPS)
    return queries_answer_caps (self, pad, query);
  if (GST_QUERY_TYPE (query) == GST_QUERY_CONTEXT
      && gst_partime_filter_query_cuda (self, query))
    return TRUE;
  return gst_pad_query_default (pad, parent, query);
}
