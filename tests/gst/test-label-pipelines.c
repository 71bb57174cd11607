/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Labels in whole pipelines: from a tee, from a source of their own, from
 * another network; seeks, states, leaks. */

#include "label-test.h"

#define SOURCE "videotestsrc pattern=ball num-buffers=40 ! " \
  "video/x-raw,format=GRAY8,width=16,height=12,framerate=25/1 ! "
#define NET_CODER(target) LABEL_HEAD NET_PICTURE_LAYERS ("1") \
  "[learning]\nloss=mse\ntarget=" target "\noptimizer=sgd lr=1e-2\n" \
  "mode=partime\n[pipeline]\nstages=2\n[output]\nkind=raw\n"
#define NET_STUDENT(loss, layers) LABEL_HEAD layers \
  "[learning]\ntarget=teacher\nloss=" loss "\n" LABEL_TAIL

typedef struct
{
  guint n, n_nan;
  gdouble losses[64];
} Losses;

static GstPadProbeReturn
pipelines_note_loss (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Losses *self = data;
  gdouble loss;

  gst_buffer_unref (label_test_get_output (info->data, 0, &loss));
  self->n_nan += isnan (loss);
  self->losses[self->n++ % 64] = loss;
  return GST_PAD_PROBE_OK;
}

static void
pipelines_add_probe (GstElement *pipeline, GstPadProbeType type,
    GstPadProbeCallback callback, gpointer data)
{
  g_autoptr (GstElement) p = gst_bin_get_by_name (GST_BIN (pipeline), "p");
  g_autoptr (GstPad) pad = gst_element_get_static_pad (p, "src");

  gst_pad_add_probe (pad, type, callback, data, NULL);
}

/* Plays 40 frames. */
static Losses
pipelines_record (const gchar *text, const gchar *network)
{
  GstElement *pipeline = element_test_launch (text, network);
  Losses losses = { 0 };

  pipelines_add_probe (pipeline, GST_PAD_PROBE_TYPE_BUFFER,
      pipelines_note_loss, &losses);
  element_test_play (pipeline);
  element_test_free (pipeline);
  g_assert_cmpuint (losses.n, ==, 40);
  return losses;
}

/* Each frame as its own label learns just as target=input does: the same losses
 * to the last bit, by whatever way the labels come. */
static void
test_same_as_input (void)
{
  static const gchar *const ways[] = {
    /* one tee, a queue in each branch */
    SOURCE "tee name=t ! queue ! p.label t. ! queue ! "
        "partimefilter name=p model=%s ! fakesink",
    /* in the label's alone */
    SOURCE "tee name=t ! p.label t. ! queue ! "
        "partimefilter name=p model=%s ! fakesink",
    /* one thread, labels first */
    SOURCE "tee name=t ! p.label t. ! "
        "partimefilter name=p model=%s ! fakesink",
    /* sources of their own */
    SOURCE "p.label " SOURCE "partimefilter name=p model=%s ! fakesink",
    /* labels slower, frames slower */
    SOURCE "identity sleep-time=15000 ! p.label " SOURCE
        "partimefilter name=p model=%s ! fakesink",
    SOURCE "p.label " SOURCE "identity sleep-time=2000 ! "
        "partimefilter name=p model=%s ! fakesink",
  };
  Losses expected = pipelines_record (SOURCE "partimefilter name=p model=%s "
      "! fakesink", NET_CODER ("input"));

  g_assert_cmpuint (expected.n_nan, ==, 0);
  g_assert_cmpfloat (expected.losses[39], <, expected.losses[0]);
  for (guint i = 0; i < G_N_ELEMENTS (ways); i++) {
    Losses found = pipelines_record (ways[i], NET_CODER ("labels"));

    for (guint k = 0; k < 40; k++)
      g_assert_cmpfloat (found.losses[k], ==, expected.losses[k]);
  }
}

static GstPadProbeReturn
pipelines_forget (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  if (GST_EVENT_TYPE (info->data) == GST_EVENT_FLUSH_STOP)
    *(Losses *) data = (Losses) { 0 };
  return GST_PAD_PROBE_OK;
}

/* After each seek every frame has its label again. */
static void
test_seek (void)
{
  static const gchar *const ways[] = {
    "videotestsrc ! video/x-raw,format=GRAY8,width=16,height=12,"
        "framerate=25/1 ! tee name=t ! queue ! p.label t. ! queue ! "
        "partimefilter name=p model=%s ! fakesink sync=true",
    "videotestsrc ! video/x-raw,format=GRAY8,width=16,height=12,"
        "framerate=25/1 ! queue ! p.label "
        "videotestsrc ! video/x-raw,format=GRAY8,width=16,height=12,"
        "framerate=25/1 ! partimefilter name=p model=%s ! fakesink sync=true",
  };

  for (guint i = 0; i < G_N_ELEMENTS (ways); i++) {
    GstElement *pipeline = element_test_launch (ways[i], NET_CODER
        ("labels"));
    g_autoptr (GstElement) p = gst_bin_get_by_name (GST_BIN (pipeline), "p");
    Losses losses = { 0 };

    pipelines_add_probe (pipeline, GST_PAD_PROBE_TYPE_BUFFER,
        pipelines_note_loss, &losses);
    pipelines_add_probe (pipeline, GST_PAD_PROBE_TYPE_EVENT_FLUSH,
        pipelines_forget, &losses);
    gst_element_set_state (pipeline, GST_STATE_PLAYING);
    for (guint k = 0; k < 8; k++) {
      gst_element_get_state (pipeline, NULL, NULL, WAIT);
      g_assert_true (gst_element_seek_simple (pipeline, GST_FORMAT_TIME,
              GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_ACCURATE,
              (8 - k) * 10 * GST_SECOND));
      g_assert_cmpint (gst_element_get_state (pipeline, NULL, NULL, WAIT),
          ==, GST_STATE_CHANGE_SUCCESS);
      g_usleep (k % 3 * 60000);
    }
    gst_element_set_state (pipeline, GST_STATE_PAUSED);
    gst_element_get_state (pipeline, NULL, NULL, WAIT);
    gst_element_set_state (pipeline, GST_STATE_READY);
    g_assert_cmpuint (losses.n, >, 0);
    g_assert_cmpuint (losses.n_nan, ==, 0);
    element_test_free (pipeline);
  }
}

/* More labels from one frame to the next than may wait: the nearest is found,
 * and nobody waits for ever. */
static void
test_many_labels (void)
{
  GstElement *pipeline = element_test_launch ("videotestsrc num-buffers=6000 ! "
      "video/x-raw,format=GRAY8,width=16,height=12,framerate=2000/1 ! p.label "
      "videotestsrc num-buffers=3 ! video/x-raw,width=16,height=12,"
      "framerate=1/1 ! partimefilter name=p model=%s ! fakesink name=s",
      NET_CODER ("labels"));
  g_autoptr (GstElement) p = gst_bin_get_by_name (GST_BIN (pipeline), "p");

  element_test_play (pipeline);
  label_test_check_stats (p, 3, 0, label_test_stat (p, "late-labels"), 0);
  g_assert_cmpuint (label_test_stat (p, "late-labels"), >, 3000);
  element_test_free (pipeline);
}

/* Torn down at any moment, also while one waits for the other. */
static void
test_states (void)
{
  GstElement *pipeline = element_test_launch ("videotestsrc ! video/x-raw,"
      "format=GRAY8,width=16,height=12,framerate=25/1 ! p.label "
      "videotestsrc ! identity sleep-time=1000 ! partimefilter name=p "
      "model=%s ! fakesink", NET_CODER ("labels"));
  static const GstState tops[] = { GST_STATE_PLAYING, GST_STATE_PAUSED };

  for (guint i = 0; i < 60; i++) {
    g_assert_cmpint (gst_element_set_state (pipeline, tops[i % 2]), !=,
        GST_STATE_CHANGE_FAILURE);
    if (i % 3 == 0)
      g_assert_cmpint (gst_element_get_state (pipeline, NULL, NULL, WAIT),
          ==, GST_STATE_CHANGE_SUCCESS);
    g_assert_cmpint (gst_element_set_state (pipeline, i % 5 ? GST_STATE_NULL
            : GST_STATE_READY), ==, GST_STATE_CHANGE_SUCCESS);
  }
  element_test_free (pipeline);
}

/* -- another network as the teacher -- */

typedef struct
{
  gboolean classes;
  guint n;
} Lesson;

/* The loss on the frame is that of the second network's output against the
 * first's: the mean square, or the cross entropy of its best classes. */
static GstPadProbeReturn
pipelines_check_lesson (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Lesson *self = data;
  g_autoptr (GstBuffer) teacher = label_test_get_output (info->data, 0, NULL);
  gdouble loss, expected = 0;
  g_autoptr (GstBuffer) student = label_test_get_output (info->data, 1, &loss);
  GstMapInfo t, s;
  gint best = 0, n;

  gst_buffer_map (teacher, &t, GST_MAP_READ);
  gst_buffer_map (student, &s, GST_MAP_READ);
  g_assert_cmpuint (t.size, ==, s.size);
  n = t.size / sizeof (gfloat);
  for (gint i = 0; i < n; i++) {
    gdouble a = ((gfloat *) t.data)[i], b = ((gfloat *) s.data)[i];

    expected += (a - b) * (a - b) / n;
    if (a > ((gfloat *) t.data)[best])
      best = i;
  }
  gst_buffer_unmap (teacher, &t);
  gst_buffer_unmap (student, &s);
  if (self->classes)
    expected = label_test_cross_entropy (student, &best, 1, -1);
  g_assert_cmpfloat_with_epsilon (loss, expected, 1e-5 * expected + 1e-9);
  self->n++;
  return GST_PAD_PROBE_OK;
}

static void
test_teacher (void)
{
  static const struct
  {
    const gchar *teacher, *student;
    gboolean classes;
  } cases[] = {
    {NET_CODER ("input"), NET_STUDENT ("mse", NET_PICTURE_LAYERS ("1")),
        FALSE},
    {NET_CLASS, NET_STUDENT ("cross-entropy", NET_SCORES), TRUE},
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree gchar *path = element_test_write ("teacher.cfg",
        cases[i].teacher);
    g_autofree gchar *text = g_strdup_printf (SOURCE "partimefilter model=%s "
        "learning-mode=off seed=5 ! partimefilter name=p model=%%s ! fakesink",
        path);
    GstElement *pipeline = element_test_launch (text, cases[i].student);
    g_autoptr (GstElement) p = gst_bin_get_by_name (GST_BIN (pipeline), "p");
    Lesson lesson = {.classes = cases[i].classes };

    pipelines_add_probe (pipeline, GST_PAD_PROBE_TYPE_BUFFER,
        pipelines_check_lesson, &lesson);
    element_test_play (pipeline);
    g_assert_cmpuint (lesson.n, ==, 40);
    label_test_check_stats (p, 40, 0, 0, 0);
    element_test_free (pipeline);
  }
}

/* Without one nothing is learned, and frames pass. */
static void
test_no_teacher (void)
{
  Losses losses = pipelines_record (SOURCE "partimefilter name=p model=%s "
      "! fakesink", NET_STUDENT ("mse", NET_PICTURE_LAYERS ("1")));

  g_assert_cmpuint (losses.n_nan, ==, 40);
}

/* -- what users get wrong -- */

static void
test_errors (void)
{
  static const struct
  {
    const gchar *text, *network;
    gint code;
    const gchar *words;
  } cases[] = {
    {SOURCE "p.label " SOURCE "partimefilter name=p model=%s ! fakesink",
          NET_CODER ("input"), GST_RESOURCE_ERROR_SETTINGS,
        "target: found input"},
    {SOURCE "p.label " SOURCE "partimefilter name=p model=%s ! fakesink",
          NET_STUDENT ("mse", NET_PICTURE_LAYERS ("1")),
        GST_RESOURCE_ERROR_SETTINGS, "target: found teacher"},
    {SOURCE "p.label " SOURCE "partimefilter name=p model=%s ! fakesink",
          LABEL_HEAD NET_PICTURE_LAYERS ("1"), GST_RESOURCE_ERROR_SETTINGS,
        "loss: nothing is set"},
    {SOURCE "partimefilter name=p labels-file=/nowhere.txt model=%s ! "
          "fakesink", NET_CLASS, GST_RESOURCE_ERROR_NOT_FOUND, "/nowhere.txt"},
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    GstElement *pipeline = element_test_launch (cases[i].text,
        cases[i].network);
    g_autoptr (GstMessage) message = NULL;
    g_autoptr (GError) error = NULL;

    gst_element_set_state (pipeline, GST_STATE_PLAYING);
    message = element_test_wait (pipeline, GST_MESSAGE_ERROR);
    g_assert_cmpstr (GST_MESSAGE_SRC_NAME (message), ==, "p");
    gst_message_parse_error (message, &error, NULL);
    g_test_message ("%s", error->message);
    g_assert_error (error, GST_RESOURCE_ERROR, cases[i].code);
    g_assert_nonnull (strstr (error->message, cases[i].words));
    element_test_free (pipeline);
  }
}

/* A frame in vain: one that waits for labels of its own tee, where the queue
 * is missing, is told of; label-wait lets it go. */
static void
test_stuck (void)
{
  GstElement *pipeline = element_test_launch (SOURCE "tee name=t ! "
      "partimefilter name=p model=%s ! fakesink t. ! queue ! p.label",
      NET_CODER ("labels"));
  g_autoptr (GstElement) p = gst_bin_get_by_name (GST_BIN (pipeline), "p");
  g_autoptr (GstMessage) warning = NULL, end = NULL;
  g_autoptr (GError) error = NULL;

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  warning = element_test_wait (pipeline, GST_MESSAGE_WARNING);
  gst_message_parse_warning (warning, &error, NULL);
  g_assert_nonnull (strstr (error->message, "has waited 5 seconds"));
  g_object_set (p, "label-wait", G_GUINT64_CONSTANT (0), NULL);
  end = element_test_wait (pipeline, GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  g_assert_cmpint (GST_MESSAGE_TYPE (end), ==, GST_MESSAGE_EOS);
  element_test_free (pipeline);
}


static void
test_leaks (void)
{
  g_autofree gchar *coder = element_test_write ("coder.cfg", NET_CODER
      ("labels"));
  g_autofree gchar *student = element_test_write ("student.cfg", NET_STUDENT
      ("mse", NET_PICTURE_LAYERS ("1")));
  gchar *commands[] = {
    g_strdup_printf (SOURCE "tee name=t ! queue ! p.label t. ! queue ! "
        "partimefilter name=p model=%s ! fakesink", coder),
    g_strdup_printf (SOURCE "partimefilter model=%s learning-mode=off ! "
        "partimefilter model=%s ! fakesink", coder, student),
    g_strdup_printf ("videotestsrc num-buffers=3000 ! video/x-raw,"
        "format=GRAY8,width=16,height=12 ! p.label " SOURCE
        "partimefilter name=p model=%s timing=latest ! fakesink", coder),
  };
  gboolean runs = TRUE;

  for (guint i = 0; i < G_N_ELEMENTS (commands); i++) {
    runs = runs && element_test_check_leaks (commands[i]);
    g_free (commands[i]);
  }
  if (!runs)
    g_test_skip ("gst-launch-1.0 cannot load a plugin with a sanitizer");
}

int
main (int argc, char **argv)
{
  element_test_init (&argc, &argv);
  g_test_add_func ("/label-pipelines/same-as-input", test_same_as_input);
  g_test_add_func ("/label-pipelines/seek", test_seek);
  g_test_add_func ("/label-pipelines/many-labels", test_many_labels);
  g_test_add_func ("/label-pipelines/states", test_states);
  g_test_add_func ("/label-pipelines/teacher", test_teacher);
  g_test_add_func ("/label-pipelines/no-teacher", test_no_teacher);
  g_test_add_func ("/label-pipelines/errors", test_errors);
  g_test_add_func ("/label-pipelines/stuck", test_stuck);
  g_test_add_func ("/label-pipelines/leaks", test_leaks);
  return element_test_run ();
}
