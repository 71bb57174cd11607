/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "cli/cli.h"
#include "engine/balance.h"

static void
info_print_stage (PtNetwork *network, const PtSpan *span, guint stage)
{
  const guint last = span->first + span->n - 1;
  guint64 parameters = 0;
  gdouble flops = 0;
  gchar cost[32];

  for (guint i = span->first; i <= last; i++) {
    parameters += pt_layer_count_parameters (network->nodes[i].layer);
    flops += pt_layer_get_flops (network->nodes[i].layer);
  }
  g_print ("  stage %u on %s (%u thread%s): %u layer%s, %s to %s, %"
      G_GUINT64_FORMAT " parameters, %s MFLOP\n", stage,
      pt_device_get_name (span->device), span->device->n_threads,
      span->device->n_threads == 1 ? "" : "s", span->n,
      span->n == 1 ? "" : "s", network->nodes[span->first].layer->name,
      network->nodes[last].layer->name, parameters,
      g_ascii_formatd (cost, sizeof cost, "%.3f", flops / 1e6));
}

/* One placement and how fast it runs. */
static gboolean
info_measure (PtNetwork *network, const gchar *what, GError **error)
{
  g_autoptr (GString) cut = g_string_new (NULL);
  PtPlacement placement = { 0 };
  gdouble rate;
  gchar number[32];

  if (!pt_placement_find (&placement, network, 0, error))
    return FALSE;
  for (guint i = 0; i < placement.n_stages; i++)
    g_string_append_printf (cut, "%s%u", i ? "," : "", placement.spans[i].n);
  rate = pt_placement_measure (&placement, network, error);
  if (rate > 0) {
    g_print ("\n%s: %s frames a second, stages=%s\n", what,
        g_ascii_formatd (number, sizeof number, "%.4g", rate), cut->str);
    for (guint i = 0; i < placement.n_stages; i++)
      info_print_stage (network, &placement.spans[i], i);
  }
  pt_placement_clear (&placement);
  return rate > 0;
}

/* Learning as the file says, then inference. */
static gboolean
info_measure_all (PtNetwork *network, GError **error)
{
  g_autoptr (PtPipeline) pipeline = pt_pipeline_new (network, error);
  const gint64 start = g_get_monotonic_time ();
  PtMode mode;

  if (pipeline == NULL)
    return FALSE;
  mode = pt_pipeline_get_mode (pipeline);
  if (mode != PT_MODE_OFF) {
    g_autofree gchar *what =
        g_strdup_printf ("learning (%s)", pt_mode_get_name (mode));

    if (!info_measure (network, what, error) ||
        !pt_network_set (network, "learning", "mode", "off", error))
      return FALSE;
  }
  if (!info_measure (network, "forward", error))
    return FALSE;
  if (mode == PT_MODE_OFF)
    g_print ("\nlearning: the file has no loss, or mode=off\n");
  g_print ("\nmeasured on noise, on the devices at hand, in %.1f s; "
      "--no-measure leaves it out\n",
      (g_get_monotonic_time () - start) / 1e6);
  return TRUE;
}

gboolean
cli_info (gint argc, gchar **argv, GError **error)
{
  g_auto (GStrv) settings = NULL;
  gboolean no_measure = FALSE;
  const GOptionEntry entries[] = {
    {"set", 's', 0, G_OPTION_ARG_STRING_ARRAY, &settings,
        "overrides a value of the file", "GROUP.KEY=VALUE"},
    {"no-measure", 0, 0, G_OPTION_ARG_NONE, &no_measure,
        "only the table: runs nothing", NULL},
    {NULL}
  };
  g_autoptr (PtNetwork) network = NULL;
  g_autofree gchar *text = NULL;

  if (!cli_parse (argc, &argv, entries, "MODEL",
          "Shows the layers of a network file or ONNX model with their shapes, "
          "cost and memory, and measures how it would be cut for the devices "
          "at hand and how many frames a second that gives.", 1, error))
    return FALSE;
  network = cli_open_network (argv[1], settings, error);
  if (network == NULL)
    return FALSE;
  text = pt_network_describe (network);
  g_print ("%s", text);
  return no_measure || info_measure_all (network, error);
}
