/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Measures against what the definitions give in double precision, over all
 * frames that were given, kept and gone through again. */

#include "engine/measure.h"
#include "stream.h"

#define FRAMES 250              /* more than two windows */
#define H 7
#define W 9

/* A float32 sum of a block of 1024, ulp 6e-8, rounds off to about 1e-6 of it;
 * decibels are 4.3 times the relative error. */
#define TOLERANCE 1e-5

typedef struct
{
  PtTask task;
  guint channels;
  PtTensor *outputs[FRAMES], *targets[FRAMES];
  gdouble losses[FRAMES];
} History;

static PtTensor *
history_new_tensor (PtDType dtype, PtShape shape)
{
  g_autoptr (GError) error = NULL;
  PtTensor *tensor = pt_tensor_new_shaped (dtype, &shape, &error);

  g_assert_no_error (error);
  tensor->layout = PT_LAYOUT_CHANNELS_LAST;
  return tensor;
}

/* Frames that get better: each element is the target's and less and less
 * else. Of classes every eleventh is @ignore and every thirteenth there is
 * not. */
static void
history_init (History *self, PtTask task, guint channels, gint ignore)
{
  gboolean classes = task == PT_TASK_CLASS || task == PT_TASK_PIXEL_CLASSES;
  gsize n = task == PT_TASK_CLASS ? 1 : H * W;
  PtShape output = task == PT_TASK_CLASS ? PT_SHAPE (1, channels) :
      PT_SHAPE (1, channels, H, W);
  PtShape label = task == PT_TASK_CLASS ? PT_SHAPE (1) : PT_SHAPE (1, H, W);

  *self = (History) { task, channels };
  for (guint f = 0; f < FRAMES; f++) {
    gfloat *x, *t;

    self->losses[f] = f % 7 == 3 ? NAN : g_test_rand_double ();
    self->outputs[f] = history_new_tensor (PT_F32, output);
    self->targets[f] = history_new_tensor (classes ? PT_I32 : PT_F32,
        classes ? label : output);
    x = self->outputs[f]->data;
    t = self->targets[f]->data;
    for (gsize i = 0; i < n * channels; i++)
      x[i] = g_test_rand_double_range (-1, 1) * (1 - f / (2. * FRAMES));
    for (gsize i = 0; !classes && i < n * channels; i++) {
      t[i] = task == PT_TASK_BINARY ? g_test_rand_int_range (0, 2) :
          g_test_rand_double_range (-1, 1);
      x[i] += task == PT_TASK_BINARY ? t[i] * f / FRAMES : t[i];
    }
    for (gsize i = 0; classes && i < n; i++) {
      gint k = g_test_rand_int_range (0, channels - 1);

      ((gint32 *) t)[i] = (f + i) % 11 == 10 ? ignore :
          (f + i) % 13 == 12 ? (gint) channels + 3 : k;
      x[i * channels + k] += f / (gdouble) FRAMES;
    }
  }
}

static void
history_clear (History *self)
{
  for (guint f = 0; f < FRAMES; f++) {
    pt_tensor_unref (self->outputs[f]);
    pt_tensor_unref (self->targets[f]);
  }
}

/* -- the definitions -- */

static gdouble
truth_loss (const History *h, guint first, guint end)
{
  gdouble sum = 0, n = 0;

  for (guint f = first; f < end; f++)
    if (isfinite (h->losses[f])) {
      sum += h->losses[f];
      n++;
    }
  return n > 0 ? sum / n : NAN;
}

static gint
truth_class (const History *h, guint f, gsize p)
{
  const gfloat *x = (const gfloat *) h->outputs[f]->data + p * h->channels;
  gint best = 0;

  for (guint k = 1; k < h->channels; k++)
    if (x[k] > x[best])
      best = k;
  return best;
}

static gdouble
truth_accuracy (const History *h, guint first, guint end, gint ignore)
{
  gdouble right = 0, n = 0;

  for (guint f = first; f < end; f++) {
    const gint32 *label = h->targets[f]->data;

    for (gsize p = 0; p < pt_tensor_get_n_elements (h->targets[f]); p++) {
      if (label[p] == ignore || label[p] >= (gint) h->channels)
        continue;
      right += truth_class (h, f, p) == label[p];
      n++;
    }
  }
  return n > 0 ? right / n : NAN;
}

/* Class for class, as the Jaccard index is defined. */
static gdouble
truth_miou (const History *h, guint first, guint end, gint ignore)
{
  gdouble sum = 0, n = 0;

  for (gint k = 0; k < (gint) h->channels; k++) {
    gdouble both = 0, either = 0;

    for (guint f = first; f < end; f++) {
      const gint32 *label = h->targets[f]->data;

      for (gsize p = 0; p < H * W; p++) {
        gboolean said = truth_class (h, f, p) == k, is = label[p] == k;

        if (label[p] == ignore || label[p] >= (gint) h->channels)
          continue;
        both += said && is;
        either += said || is;
      }
    }
    if (either > 0) {
      sum += both / either;
      n++;
    }
  }
  return n > 0 ? sum / n : NAN;
}

static void
truth_binary (const History *h, guint first, guint end, gdouble *accuracy,
    gdouble *iou)
{
  gdouble right = 0, both = 0, either = 0, n = 0;

  for (guint f = first; f < end; f++) {
    const gfloat *x = h->outputs[f]->data, *t = h->targets[f]->data;

    for (gsize i = 0; i < H * W * h->channels; i++) {
      gboolean said = 1 / (1 + exp (-(gdouble) x[i])) > 0.5, is = t[i] > 0.5;

      right += said == is;
      both += said && is;
      either += said || is;
      n++;
    }
  }
  *accuracy = right / n;
  *iou = either > 0 ? both / either : NAN;
}

static gdouble
truth_psnr (const History *h, guint first, guint end, gdouble std,
    gboolean repeat)
{
  gdouble sum = 0, n = 0;

  for (guint f = repeat ? MAX (first, 1) : first; f < end; f++) {
    const gfloat *x = repeat ? h->targets[f - 1]->data : h->outputs[f]->data;
    const gfloat *t = h->targets[f]->data;

    for (gsize i = 0; i < H * W * h->channels; i++) {
      sum += pow (((gdouble) x[i] - t[i]) * std, 2);
      n++;
    }
  }
  return n > 0 ? 10 * log10 (1 / (sum / n)) : NAN;
}

static gdouble
truth_epe (const History *h, guint first, guint end)
{
  gdouble sum = 0;

  for (guint f = first; f < end; f++) {
    const gfloat *x = h->outputs[f]->data, *t = h->targets[f]->data;

    for (gsize p = 0; p < H * W; p++)
      sum += hypot ((gdouble) x[2 * p] - t[2 * p],
          (gdouble) x[2 * p + 1] - t[2 * p + 1]);
  }
  return sum / ((end - first) * H * W);
}

static void
truth_find (const History *h, guint first, guint end, gint ignore,
    gdouble std, gdouble *truth)
{
  truth[0] = truth_loss (h, first, end);
  switch (h->task) {
    case PT_TASK_PIXEL_CLASSES:
      truth[2] = truth_miou (h, first, end, ignore);
      G_GNUC_FALLTHROUGH;
    case PT_TASK_CLASS:
      truth[1] = truth_accuracy (h, first, end, ignore);
      break;
    case PT_TASK_BINARY:
      truth_binary (h, first, end, &truth[1], &truth[2]);
      break;
    case PT_TASK_NEXT_IMAGE:
      truth[2] = truth_psnr (h, first, end, std, TRUE);
      G_GNUC_FALLTHROUGH;
    case PT_TASK_IMAGE:
      truth[1] = truth_psnr (h, first, end, std, FALSE);
      break;
    case PT_TASK_FLOW:
      truth[1] = truth_epe (h, first, end);
      break;
    default:
      break;
  }
}

/* -- every task -- */

static void
assert_near (gdouble found, gdouble truth)
{
  if (isnan (truth)) {
    g_assert_true (isnan (found));
    return;
  }
  g_assert_cmpfloat_with_epsilon (found, truth,
      TOLERANCE * MAX (fabs (truth), 1));
}

typedef struct
{
  const gchar *path;
  PtTask task;
  guint channels;
  const gchar *names;
} Case;

static const Case cases[] = {
  {"none", PT_TASK_NONE, 1, "loss"},
  {"class", PT_TASK_CLASS, 10, "loss accuracy"},
  {"pixel-classes", PT_TASK_PIXEL_CLASSES, 5, "loss accuracy miou"},
  {"binary", PT_TASK_BINARY, 2, "loss accuracy iou"},
  {"image", PT_TASK_IMAGE, 3, "loss psnr"},
  {"next-image", PT_TASK_NEXT_IMAGE, 1, "loss psnr psnr-repeat"},
  {"flow", PT_TASK_FLOW, 2, "loss epe"},
};

/* What stands after frame @f. */
static void
check_state (PtMeasures *measures, const History *h, guint f, gint ignore,
    gdouble std, const gchar *names)
{
  gdouble newest[PT_MAX_MEASURES], recent[PT_MAX_MEASURES];
  gdouble total[PT_MAX_MEASURES];
  g_autoptr (GString) found = g_string_new (NULL);
  PtMeasure out[PT_MAX_MEASURES];
  guint n = pt_measures_get (measures, out);
  guint window = f >= PT_MEASURE_WINDOW ? f + 1 - PT_MEASURE_WINDOW : 0;

  truth_find (h, f, f + 1, ignore, std, newest);
  truth_find (h, window, f + 1, ignore, std, recent);
  truth_find (h, 0, f + 1, ignore, std, total);
  for (guint i = 0; i < n; i++) {
    assert_near (out[i].newest, newest[i]);
    assert_near (out[i].recent, recent[i]);
    assert_near (out[i].total, total[i]);
    g_string_append_printf (found, "%s%s", i > 0 ? " " : "", out[i].name);
    g_assert_true (out[i].higher_is_better == (i > 0
            && !g_str_equal (out[i].name, "epe")));
  }
  g_assert_cmpstr (found->str, ==, names);
}

static void
test_task (gconstpointer data)
{
  const Case *c = data;
  const gint ignore = 3;
  const gdouble std = 0.25;
  gdouble values[PT_MAX_MEASURES], truth[PT_MAX_MEASURES];
  PtMeasure out[PT_MAX_MEASURES];
  PtMeasures measures;
  History h;

  history_init (&h, c->task, c->channels, ignore);
  pt_measures_init (&measures);
  pt_measures_start (&measures, c->task, c->channels, ignore, std);
  g_assert_cmpuint (pt_measures_get (&measures, out), ==, measures.n);
  g_assert_true (isnan (out[0].newest) && isnan (out[measures.n - 1].recent));
  for (guint f = 0; f < FRAMES; f++) {
    pt_measures_add (&measures, &(PtMeasureFrame) { h.outputs[f],
        h.targets[f], f > 0 ? h.targets[f - 1] : NULL, h.losses[f] }, values);
    truth_find (&h, f, f + 1, ignore, std, truth);
    for (guint i = 0; i < PT_MAX_MEASURES; i++)
      assert_near (values[i], i < measures.n ? truth[i] : NAN);
    if (f % 40 == 0 || (f >= PT_MEASURE_WINDOW - 2
            && f <= PT_MEASURE_WINDOW + 2) || f + 1 == FRAMES)
      check_state (&measures, &h, f, ignore, std, c->names);
  }
  /* from zero again */
  pt_measures_start (&measures, c->task, c->channels, ignore, std);
  pt_measures_add (&measures, &(PtMeasureFrame) { h.outputs[0], h.targets[0],
      NULL, h.losses[0] }, values);
  check_state (&measures, &h, 0, ignore, std, c->names);
  pt_measures_clear (&measures);
  history_clear (&h);
}

/* A perfect picture is not infinitely good, and one with nothing that counts
 * is nothing. */
static void
test_edges (void)
{
  gdouble values[PT_MAX_MEASURES];
  PtMeasure out[PT_MAX_MEASURES];
  PtMeasures measures;
  History h;

  pt_measures_init (&measures);
  history_init (&h, PT_TASK_IMAGE, 1, 0);
  pt_measures_start (&measures, PT_TASK_IMAGE, 1, 0, 1);
  pt_measures_add (&measures, &(PtMeasureFrame) { h.targets[0], h.targets[0],
      NULL, 0 }, values);
  g_assert_cmpfloat (values[1], ==, 100);
  history_clear (&h);

  history_init (&h, PT_TASK_PIXEL_CLASSES, 4, 2);
  for (guint i = 0; i < H * W; i++)
    ((gint32 *) h.targets[0]->data)[i] = 2;
  pt_measures_start (&measures, PT_TASK_PIXEL_CLASSES, 4, 2, 1);
  pt_measures_add (&measures, &(PtMeasureFrame) { h.outputs[0], h.targets[0],
      NULL, NAN }, values);
  g_assert_true (isnan (values[0]) && isnan (values[1]) && isnan (values[2]));
  g_assert_cmpuint (pt_measures_get (&measures, out), ==, 3);
  g_assert_true (isnan (out[2].recent) && isnan (out[2].total));
  history_clear (&h);
  pt_measures_clear (&measures);
}

/* -- in a pipeline -- */

#define NEXT_NETWORK \
  "[network]\nwidth=12\nheight=10\nchannels=1\nmean=0.25\nstd=0.5\n" \
  "[a]\ntype=conv2d\nfilters=4\nkernel=3\npadding=1\n" \
  "[b]\ntype=conv2d\nfilters=4\nkernel=3\npadding=1\n" \
  "[c]\ntype=conv2d\nfilters=1\nkernel=3\npadding=1\n" \
  "[learning]\nloss=l1\ntarget=next\noptimizer=adam lr=1e-3\nseed=7\n"

static PtPipeline *
start (const gchar *text, const gchar *mode, const gchar *stages,
    const gchar *replay)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtNetwork) network = pt_network_new_from_data (text, -1,
      "measure.cfg", &error);

  g_assert_no_error (error);
  g_assert_true (pt_network_set (network, "learning", "mode", mode, NULL));
  g_assert_true (pt_network_set (network, "pipeline", "devices", "cpu:0",
          NULL));
  g_assert_true (pt_network_set (network, "pipeline", "stages", stages,
          NULL));
  g_assert_true (pt_network_set (network, "learning", "replay", replay,
          NULL));
  return stream_start (network);
}

static gdouble
frame_psnr (PtTensor *a, PtTensor *b, gdouble std)
{
  const gfloat *x = pt_tensor_get_data (a), *y = pt_tensor_get_data (b);
  gdouble sum = 0;

  for (guint i = 0; i < STREAM_WIDTH * STREAM_HEIGHT; i++)
    sum += pow (std * ((gdouble) x[i] - y[i]), 2);
  return -10 * log10 (sum / (STREAM_WIDTH * STREAM_HEIGHT));
}

static void
check_next (PtPipeline *pipeline, guint f)
{
  g_autoptr (PtResult) result = NULL;
  g_autoptr (PtTensor) now = stream_frame (f);
  g_autoptr (PtTensor) before = stream_frame (f > 0 ? f - 1 : 0);

  g_assert_cmpint (pt_pipeline_pull (pipeline, &result, NULL), ==,
      PT_FLOW_OK);
  g_assert_true (isnan (result->measures[3]));
  if (f == 0) {
    g_assert_true (isnan (result->measures[0]));
    g_assert_true (isnan (result->measures[1]));
    return;
  }
  g_assert_true (isfinite (result->loss));
  g_assert_true (result->learned == (f % 3 != 2));
  g_assert_cmpfloat (result->measures[0], ==, result->loss);
  assert_near (result->measures[1], frame_psnr (result->output, now, 0.5));
  assert_near (result->measures[2], frame_psnr (before, now, 0.5));
}

/* The values on each frame are those of its own output, whatever the cut and
 * however far stages are apart; frames that do not learn have them too, and
 * frames that are learned from again do not come between. */
static void
test_next_frame (void)
{
  static const gchar *const modes[] = { "exact", "partime", "delayed" };
  static const gchar *const stages[] = { "1", "2", "3" };
  const guint n = 130;

  for (guint i = 0; i < 18; i++) {
    g_autoptr (PtPipeline) pipeline = start (NEXT_NETWORK, modes[i / 3 % 3],
        stages[i % 3], i < 9 ? "0" : "4");
    PtPipelineStats stats;
    guint pulled = 0;

    for (guint f = 0; f < n;) {
      g_autoptr (PtTensor) frame = stream_frame (f);
      PtFlow flow = pt_pipeline_push (pipeline, frame, NULL, PT_PUSH_TRY
          | (f % 3 == 2 ? PT_PUSH_NO_LEARN : 0), NULL);

      if (flow == PT_FLOW_FULL)
        check_next (pipeline, pulled++);
      f += flow == PT_FLOW_OK;
    }
    while (pulled < n)
      check_next (pipeline, pulled++);
    pt_pipeline_get_stats (pipeline, &stats);
    g_assert_cmpuint (stats.n_measures, ==, 3);
    g_assert_cmpstr (stats.measures[2].name, ==, "psnr-repeat");
    g_assert_cmpstr (stats.measures[1].unit, ==, "dB");
    g_assert_cmpfloat (stats.measures[0].newest, ==, stats.loss);
  }
}

#define CLASS_NETWORK \
  "[network]\nwidth=12\nheight=10\nchannels=1\n" \
  "[a]\ntype=conv2d\nfilters=3\nkernel=3\npadding=1\n" \
  "[learning]\nloss=cross-entropy ignore_index=1\noptimizer=sgd lr=1e-2\n"

/* Labels come now and then; only frames with one are measured. */
static void
test_sparse_labels (void)
{
  g_autoptr (PtPipeline) pipeline = start (CLASS_NETWORK, "exact", "1", "0");
  const gint64 dims[] = { STREAM_HEIGHT, STREAM_WIDTH };
  const gsize n = STREAM_HEIGHT * STREAM_WIDTH;
  g_autoptr (PtTensor) label = pt_tensor_new (PT_I32, dims, 2, NULL);
  gint32 *y = pt_tensor_get_data (label);
  gdouble all_right = 0, all = 0;
  PtPipelineStats stats;

  for (guint f = 0; f < 40; f++) {
    g_autoptr (PtTensor) frame = stream_frame (f);
    g_autoptr (PtResult) result = NULL;
    const gfloat *x;
    gdouble right = 0, counted = 0;

    for (gsize p = 0; p < n; p++)
      y[p] = (f + p) % 3;
    pt_pipeline_push (pipeline, frame, f % 4 == 0 ? label : NULL,
        PT_PUSH_NONE, NULL);
    g_assert_cmpint (pt_pipeline_pull (pipeline, &result, NULL), ==,
        PT_FLOW_OK);
    x = pt_tensor_get_data (result->output);
    for (gsize p = 0; p < n; p++) {
      gint best = x[n + p] > x[p] ? 1 : 0;

      best = x[2 * n + p] > x[best * n + p] ? 2 : best;
      right += y[p] != 1 && best == y[p];
      counted += y[p] != 1;
    }
    assert_near (result->measures[1], f % 4 == 0 ? right / counted : NAN);
    all_right += f % 4 == 0 ? right : 0;
    all += f % 4 == 0 ? counted : 0;
  }
  pt_pipeline_get_stats (pipeline, &stats);
  g_assert_cmpuint (stats.n_measures, ==, 3);
  assert_near (stats.measures[1].total, all_right / all);
}

static void
test_names (void)
{
  static const gchar *const settings[][3] = {
    {"mse", "input", "loss psnr"}, {"charbonnier", "next",
          "loss psnr psnr-repeat"}, {"mse", "labels", "loss psnr"},
    {"ssim window=3", "input", "loss psnr"},
    {"bce", "labels", "loss accuracy iou"},
    {"focal", "labels", "loss accuracy iou"},
    {"cross-entropy", "labels", "loss accuracy miou"},
  };

  for (guint i = 0; i < G_N_ELEMENTS (settings); i++) {
    g_autofree gchar *text = g_strdup_printf ("[network]\nwidth=12\n"
        "height=10\nchannels=1\n[a]\ntype=conv2d\nfilters=1\nkernel=1\n"
        "[learning]\nloss=%s\ntarget=%s\n", settings[i][0], settings[i][1]);
    g_autoptr (PtPipeline) pipeline = start (text, "exact", "1", "0");
    g_autoptr (PtPipeline) off = start (text, "off", "1", "0");
    g_autoptr (GString) names = g_string_new (NULL);
    PtPipelineStats stats;

    pt_pipeline_get_stats (pipeline, &stats);
    for (guint k = 0; k < stats.n_measures; k++)
      g_string_append_printf (names, "%s%s", k > 0 ? " " : "",
          stats.measures[k].name);
    g_assert_cmpstr (names->str, ==, settings[i][2]);
    pt_pipeline_get_stats (off, &stats);
    g_assert_cmpuint (stats.n_measures, ==, 0);
  }
}

gint
main (gint argc, gchar **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree gchar *path = g_strdup_printf ("/measure/task/%s",
        cases[i].path);

    g_test_add_data_func (path, &cases[i], test_task);
  }
  g_test_add_func ("/measure/edges", test_edges);
  g_test_add_func ("/measure/next-frame", test_next_frame);
  g_test_add_func ("/measure/sparse-labels", test_sparse_labels);
  g_test_add_func ("/measure/names", test_names);
  return g_test_run ();
}
