/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "cli/cli.h"

/* A rate, or milliseconds. */
static const gchar *
info_print (gdouble x, gchar *text)
{
  return g_ascii_formatd (text, G_ASCII_DTOSTR_BUF_SIZE,
      x < 10 ? "%.3f" : x < 100 ? "%.1f" : "%.0f", x);
}

static void
info_print_stage (PtNetwork *network, PtPipeline *pipeline, guint stage,
    gboolean learns)
{
  gchar forward[G_ASCII_DTOSTR_BUF_SIZE], backward[G_ASCII_DTOSTR_BUF_SIZE];
  PtStageStats s;

  pt_pipeline_get_stage_stats (pipeline, stage, &s);
  g_print ("  stage %u on %s, %u thread%s: %u layer%s, %s to %s, forward %s ms",
      stage, s.device, s.n_threads, s.n_threads == 1 ? "" : "s", s.n_layers,
      s.n_layers == 1 ? "" : "s",
      pt_network_get_layer_name (network, s.first_layer),
      pt_network_get_layer_name (network, s.first_layer + s.n_layers - 1),
      info_print (s.forward / 1e6, forward));
  if (learns)
    g_print (", backward and update %s ms",
        info_print ((s.backward + s.update) / 1e6, backward));
  g_print (", %s MB\n", info_print (s.memory / 1e6, forward));
}

/* Layers of each stage, as stages= takes them. */
static gchar *
info_print_cut (PtPipeline *pipeline, guint n)
{
  GString *text = g_string_new (NULL);

  for (guint i = 0; i < n; i++) {
    PtStageStats s;

    pt_pipeline_get_stage_stats (pipeline, i, &s);
    g_string_append_printf (text, i ? ",%u" : "%u", s.n_layers);
  }
  return g_string_free (text, FALSE);
}

/* The cut that a stream would get, and how fast it runs. */
static gboolean
info_measure (PtNetwork *network, PtMode *mode, GError **error)
{
  static const gchar *const modes[] = { "forward", "learning (exact)",
    "learning (partime)", "learning (delayed)"
  };
  g_autoptr (PtPipeline) pipeline = pt_pipeline_new (network, error);
  g_autofree gchar *stages = pt_network_get (network, "pipeline", "stages");
  g_autofree gchar *cut = NULL;
  gchar number[G_ASCII_DTOSTR_BUF_SIZE];
  PtPipelineStats stats;
  gdouble rate;

  if (pipeline == NULL || !pt_pipeline_start (pipeline, error))
    return FALSE;
  *mode = pt_pipeline_get_mode (pipeline);
  rate = pt_pipeline_measure (pipeline, error);
  if (rate > 0) {
    pt_pipeline_get_stats (pipeline, &stats);
    cut = info_print_cut (pipeline, stats.n_stages);
    g_print ("\n%s: %s frames a second, cut %s (stages=%s)\n", modes[*mode],
        info_print (rate, number), cut, stages);
    for (guint i = 0; i < stats.n_stages; i++)
      info_print_stage (network, pipeline, i, *mode != PT_MODE_OFF);
  }
  pt_pipeline_stop (pipeline);
  return rate > 0;
}

/* As the file says, then inference if it learns. */
static gboolean
info_measure_all (PtNetwork *network, GError **error)
{
  const gint64 start = g_get_monotonic_time ();
  PtMode mode, off;

  if (!info_measure (network, &mode, error))
    return FALSE;
  if (mode == PT_MODE_OFF)
    g_print ("\nlearning: off, by the file's mode= or for want of a loss\n");
  else if (!pt_network_set (network, "learning", "mode", "off", error) ||
      !info_measure (network, &off, error))
    return FALSE;
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
