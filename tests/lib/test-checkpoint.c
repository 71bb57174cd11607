/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "stream.h"

#include "formats/safetensors.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <sys/resource.h>

static gchar *folder;

static gchar *
get_path (const gchar *name)
{
  return g_build_filename (folder, name, NULL);
}

/* In exact mode 40 frames at once are 20, save, load into another cut, 20. */
static void
test_resume_is_exact (gconstpointer optimizer)
{
  g_autofree gchar *path = get_path ("resume.safetensors");
  g_autoptr (PtNetwork) whole = stream_network ("exact", "cpu:0", "3,4");
  g_autoptr (PtNetwork) first = stream_network ("exact", "cpu:0", "3,4");
  g_autoptr (PtNetwork) second = stream_network ("exact", "cpu:0", "1,5,1");
  g_autoptr (PtPipeline) a = NULL, b = NULL, c = NULL;
  g_autoptr (GError) error = NULL;

  pt_network_set (whole, "learning", "optimizer", optimizer, &error);
  pt_network_set (first, "learning", "optimizer", optimizer, &error);
  pt_network_set (second, "learning", "optimizer", optimizer, &error);
  pt_network_set (second, "learning", "seed", "99", &error);
  g_assert_no_error (error);
  a = stream_start (whole);
  stream_run (a, 0, 20);
  stream_run (a, 20, 20);
  pt_pipeline_stop (a);
  b = stream_start (first);
  stream_run (b, 0, 20);
  g_assert_true (pt_pipeline_save (b, path, &error));
  c = stream_start (second);
  g_assert_true (pt_pipeline_load (c, path, &error));
  stream_run (c, 20, 20);
  pt_pipeline_stop (c);
  g_assert_cmpuint (stream_hash_weights (whole), ==,
      stream_hash_weights (second));
}

/* A network whose layers remember all kinds of things from frame to frame. */
#define KEEPING_NETWORK \
  "[network]\nwidth=12\nheight=10\nchannels=1\nframes=3\n" \
  "[a]\ntype=conv2d\nfilters=6\nkernel=3\npadding=1\nactivation=gelu\n" \
  "[b]\ntype=max-pool2d\nkernel=2\n" \
  "[c]\ntype=batch-norm\nactivation=relu\n" \
  "[d]\ntype=dropout\np=0.2\n" \
  "[e]\ntype=conv2d\nfilters=6\nkernel=3\npadding=1\nactivation=silu\n" \
  "[f]\ntype=add\ninputs=e;b\n" \
  "[g]\ntype=upsample\nscale=2\nmode=bilinear\n" \
  "[h]\ntype=concat\ninputs=g;a\n" \
  "[i]\ntype=conv2d\nfilters=1\nkernel=3\npadding=1\n" \
  "[learning]\nloss=mse\ntarget=next\nseed=7\n"

typedef struct
{
  const gchar *mode, *cut, *key, *value;
} WholeCase;

static const WholeCase whole_cases[] = {
  {"exact", "3,3,3", "interval", "1"},
  {"exact", "9", "schedule", "plateau window=5 patience=0 factor=0.7"},
  {"partime", "3,3,3", "interval", "1"},
  {"partime", "1,2,3,2,1", "interval", "3"},
  {"partime", "4,5", "accumulate", "3"},
  {"partime", "4,5", "orthogonal", "0.9"},
  {"partime", "2,7", "schedule", "plateau window=5 patience=0 factor=0.7"},
  {"delayed", "3,3,3", "interval", "1"},
  {"delayed", "1,2,3,2,1", "interval", "3"},
  {"delayed", "2,2,1,2,2", "optimizer", "sgd lr=1e-2 momentum=0.9"},
  {"delayed", "4,5", "accumulate", "4"},
  /* remembers nothing, but where its schedule is */
  {"exact", "9", "optimizer", "sgd lr=1e-2"},
  {"partime", "4,5", "optimizer", "sgd lr=1e-2"},
  {"delayed", "4,5", "optimizer", "sgd lr=1e-2"},
};

static PtPipeline *
start_keeping (const WholeCase *c, PtNetwork **network)
{
  g_autoptr (GError) error = NULL;

  *network = pt_network_new_from_data (KEEPING_NETWORK, -1, "keeping.cfg",
      &error);
  g_assert_no_error (error);
  pt_network_set (*network, "learning", "mode", c->mode, &error);
  pt_network_set (*network, "pipeline", "devices", "cpu:0", &error);
  pt_network_set (*network, "pipeline", "stages", c->cut, &error);
  pt_network_set (*network, "learning", c->key, c->value, &error);
  g_assert_no_error (error);
  return stream_start (*network);
}

/* 60 frames at once are @n, save, another pipeline, resume, the rest: every
 * bit that comes out and all weights, in every mode. */
static void
test_resume_whole (gconstpointer data)
{
  const WholeCase *c = data;
  g_autofree gchar *path = get_path ("resume.safetensors");

  for (guint n = 0; n <= 24; n += n < 5 ? 1 : 7) {
    g_autoptr (PtNetwork) at_once = NULL, before = NULL, after = NULL;
    g_autoptr (PtPipeline) a = start_keeping (c, &at_once);
    g_autoptr (PtPipeline) b = start_keeping (c, &before);
    g_autoptr (PtPipeline) d = start_keeping (c, &after);
    g_autoptr (GError) error = NULL;
    StreamSums whole = { 0 }, first = { 0 }, second = { .frames = n };
    gboolean stream = FALSE;

    stream_feed (a, &whole, 0, n);
    whole.hash = 0;
    stream_feed (a, &whole, n, 60 - n);
    stream_drain (a);
    stream_feed (b, &first, 0, n);
    g_assert_true (pt_pipeline_save (b, path, &error));
    g_assert_true (pt_pipeline_resume (d, path, &stream, &error));
    g_assert_true (stream);
    stream_feed (d, &second, n, 60 - n);
    stream_drain (d);
    g_assert_cmpuint (whole.hash, ==, second.hash);
    pt_pipeline_stop (a);
    pt_pipeline_stop (d);
    g_assert_cmpuint (stream_hash_weights (at_once), ==,
        stream_hash_weights (after));
  }
}

/* Another cut or mode gets weights and optimizer, and says so. */
static void
test_resume_part (void)
{
  g_autofree gchar *path = get_path ("resume.safetensors");
  const WholeCase from = { "partime", "4,5", "interval", "1" };
  const WholeCase cut = { "partime", "3,6", "interval", "1" };
  const WholeCase mode = { "delayed", "4,5", "interval", "1" };
  g_autoptr (PtNetwork) first = NULL, second = NULL, third = NULL;
  g_autoptr (PtPipeline) a = start_keeping (&from, &first);
  g_autoptr (PtPipeline) b = start_keeping (&cut, &second);
  g_autoptr (PtPipeline) c = start_keeping (&mode, &third);
  StreamSums sums = { 0 };
  gboolean stream = TRUE;

  stream_feed (a, &sums, 0, 20);
  g_assert_true (pt_pipeline_save (a, path, NULL));
  g_assert_true (pt_pipeline_resume (b, path, &stream, NULL));
  g_assert_false (stream);
  stream_run (b, 20, 5);
  stream = TRUE;
  g_assert_true (pt_pipeline_resume (c, path, &stream, NULL));
  g_assert_false (stream);
  stream_run (c, 20, 5);
}

/* A layer without weights first in a stage knows no count of updates. */
static void
test_resume_cut_at_activation (void)
{
  g_autofree gchar *path = get_path ("resume.safetensors");
  g_autoptr (PtNetwork) first = stream_network ("exact", "cpu:0", "2,1,4");
  g_autoptr (PtNetwork) second = stream_network ("exact", "cpu:0", "2,5");
  g_autoptr (PtPipeline) a = stream_start (first), b = stream_start (second);

  stream_run (a, 0, 20);
  g_assert_true (pt_pipeline_save (a, path, NULL));
  g_assert_true (pt_pipeline_load (b, path, NULL));
  stream_run (a, 20, 20);
  stream_run (b, 20, 20);
  pt_pipeline_stop (a);
  pt_pipeline_stop (b);
  g_assert_cmpuint (stream_hash_weights (first), ==,
      stream_hash_weights (second));
}

static void
on_event (PtPipeline *pipeline, const PtEvent *event, gpointer data)
{
  g_assert_cmpint (event->type, ==, PT_EVENT_CHECKPOINT);
  g_assert_nonnull (event->path);
  g_atomic_int_add ((gint *) data, event->error == NULL ? 1 : 1000);
}

/* A marker in the middle of a stream: the file is whole, the stream the same
 * as without. */
static void
test_async_does_not_disturb (void)
{
  g_autofree gchar *path = get_path ("async.safetensors");
  g_autoptr (PtNetwork) plain = stream_network ("partime", "cpu:0", "2,3,2");
  g_autoptr (PtNetwork) saved = stream_network ("partime", "cpu:0", "2,3,2");
  g_autoptr (PtPipeline) a = stream_start (plain);
  g_autoptr (PtPipeline) b = pt_pipeline_new (saved, NULL);
  g_autoptr (GError) error = NULL;
  gint events = 0;

  pt_pipeline_set_event_func (b, on_event, &events);
  g_assert_true (pt_pipeline_start (b, &error));
  for (guint i = 0; i < 20; i++) {
    guint n = i % 5;
    StreamSums x = stream_run (a, i, n), y;

    pt_pipeline_save_async (b, path);
    y = stream_run (b, i, n);
    g_assert_cmpuint (x.hash, ==, y.hash);
  }
  pt_pipeline_save_async (b, path);
  pt_pipeline_stop (b);
  g_assert_cmpint (g_atomic_int_get (&events), ==, 21);
  g_assert_true (pt_network_load_weights (plain, path, &error));
  g_assert_cmpuint (stream_hash_weights (plain), ==,
      stream_hash_weights (saved));
}

static guint64
read_frame (const gchar *path)
{
  g_autoptr (PtTensorFile) file = pt_tensor_file_load (path, NULL);

  return file == NULL ? 0 : g_ascii_strtoull (pt_tensor_file_get_metadata
      (file, "frame"), NULL, 10);
}

/* The last three, under the names they are said to have. */
static void
test_keep (void)
{
  g_autofree gchar *path = get_path ("keep.safetensors");
  g_autofree gchar *first = get_path ("keep.1.safetensors");
  g_autofree gchar *second = get_path ("keep.2.safetensors");
  g_autofree gchar *third = get_path ("keep.3.safetensors");
  g_autoptr (PtNetwork) network = stream_network ("partime", "cpu:0", "3,4");
  g_autoptr (PtPipeline) pipeline = stream_start (network);
  StreamSums sums = { 0 };

  pt_pipeline_set_checkpoint_keep (pipeline, 3);
  for (guint i = 0; i < 5; i++) {
    stream_feed (pipeline, &sums, 0, 10);
    g_assert_true (pt_pipeline_save (pipeline, path, NULL));
  }
  g_assert_cmpuint (read_frame (path), ==, 50);
  g_assert_cmpuint (read_frame (first), ==, 40);
  g_assert_cmpuint (read_frame (second), ==, 30);
  g_assert_false (g_file_test (third, G_FILE_TEST_EXISTS));
  stream_drain (pipeline);
  g_assert_true (pt_pipeline_save (pipeline, path, NULL));
  g_assert_cmpuint (read_frame (path), ==, 50);
}

/* A disk that is full costs no older checkpoint. */
static void
test_keep_when_full (void)
{
  g_autofree gchar *path = get_path ("keep.safetensors");
  g_autofree gchar *first = get_path ("keep.1.safetensors");
  g_autofree gchar *second = get_path ("keep.2.safetensors");
  g_autoptr (PtNetwork) network = stream_network ("partime", "cpu:0", "3,4");
  g_autoptr (PtPipeline) pipeline = stream_start (network);
  struct rlimit all, few;
  StreamSums sums = { 0 };

  g_assert_cmpint (getrlimit (RLIMIT_FSIZE, &all), ==, 0);
  few = (struct rlimit) { 100, all.rlim_max };
  signal (SIGXFSZ, SIG_IGN);
  pt_pipeline_set_checkpoint_keep (pipeline, 3);
  for (guint i = 0; i < 6; i++) {
    stream_feed (pipeline, &sums, 0, 10);
    g_assert_cmpint (setrlimit (RLIMIT_FSIZE, i < 3 ? &all : &few), ==, 0);
    g_assert_true (pt_pipeline_save (pipeline, path, NULL) == (i < 3));
  }
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &all), ==, 0);
  g_assert_cmpuint (read_frame (path), ==, 30);
  g_assert_cmpuint (read_frame (first), ==, 20);
  g_assert_cmpuint (read_frame (second), ==, 10);
}

static void
test_unwritable (void)
{
  g_autofree gchar *path = get_path ("missing/there.safetensors");
  g_autoptr (PtNetwork) network = stream_network ("exact", "cpu:0", "2");
  g_autoptr (PtPipeline) pipeline = pt_pipeline_new (network, NULL);
  g_autoptr (GError) error = NULL;
  gint events = 0;

  pt_pipeline_set_event_func (pipeline, on_event, &events);
  g_assert_true (pt_pipeline_start (pipeline, NULL));
  g_assert_false (pt_pipeline_save (pipeline, path, &error));
  g_assert_error (error, PT_ERROR, PT_ERROR_FILE);
  g_assert_nonnull (strstr (error->message, path));
  pt_pipeline_save_async (pipeline, path);
  stream_run (pipeline, 0, 3);
  pt_pipeline_stop (pipeline);
  g_assert_cmpint (events, ==, 1000);
}

static void
check_refused (const gchar *path, const gchar *says)
{
  g_autoptr (PtNetwork) network = stream_network ("exact", "cpu:0", "2");
  g_autoptr (PtPipeline) pipeline = stream_start (network);
  g_autoptr (PtNetwork) other = stream_network ("exact", "cpu:0", "2");
  g_autoptr (PtPipeline) untouched = stream_start (other);
  g_autoptr (GError) error = NULL;

  g_assert_false (pt_pipeline_load (pipeline, path, &error));
  g_test_message ("%s", error->message);
  g_assert_error (error, PT_ERROR, PT_ERROR_FILE);
  g_assert_nonnull (strstr (error->message, says));
  g_assert_cmpuint (stream_run (pipeline, 0, 5).hash, ==,
      stream_run (untouched, 0, 5).hash);
}

static void
test_refused (void)
{
  g_autofree gchar *path = get_path ("sgd.safetensors");
  g_autofree gchar *cut = get_path ("cut.safetensors");
  g_autofree gchar *contents = NULL;
  g_autoptr (PtNetwork) network = stream_network ("exact", "cpu:0", "2");
  g_autoptr (PtPipeline) pipeline = NULL;
  gsize length;

  pt_network_set (network, "learning", "optimizer", "sgd momentum=0.5", NULL);
  pipeline = stream_start (network);
  stream_run (pipeline, 0, 3);
  g_assert_true (pt_pipeline_save (pipeline, path, NULL));
  check_refused (path, "of optimizer sgd");
  check_refused ("/nowhere/at/all", "/nowhere/at/all");
  g_assert_true (g_file_get_contents (path, &contents, &length, NULL));
  for (gsize n = 0; n < length; n += length / 7) {
    g_assert_true (g_file_set_contents (cut, contents, n, NULL));
    check_refused (cut, cut);
  }
}

/* Weights alone: the optimizer starts anew. Reset: everything does. */
static void
test_weights_and_reset (gconstpointer mode)
{
  g_autofree gchar *path = get_path ("weights.safetensors");
  g_autoptr (PtNetwork) network = stream_network (mode, "cpu:0", "2,3,2");
  g_autoptr (PtPipeline) pipeline = NULL;
  g_autoptr (GError) error = NULL;
  StreamSums first, again;

  pt_network_init_weights (network, 7);
  g_assert_true (pt_network_save_weights (network, path, &error));
  pipeline = stream_start (network);
  first = stream_run (pipeline, 0, 10);
  g_assert_true (pt_pipeline_load (pipeline, path, &error));
  again = stream_run (pipeline, 0, 10);
  g_assert_cmpuint (first.hash, ==, again.hash);
  g_assert_true (pt_pipeline_reset (pipeline, &error));
  again = stream_run (pipeline, 0, 10);
  g_assert_cmpuint (first.hash, ==, again.hash);
}

/* Gradients that old weights left under way between stages are not for new
 * ones: the weights after 10 frames more depend on those frames alone. */
static void
test_load_drops_gradients (gconstpointer mode)
{
  g_autofree gchar *path = get_path ("weights.safetensors");
  g_autoptr (GError) error = NULL;
  guint64 found[2];

  for (guint late = 0; late < 2; late++) {
    g_autoptr (PtNetwork) network = stream_network (mode, "cpu:0", "2,3,2");
    g_autoptr (PtPipeline) pipeline = NULL;
    StreamSums sums = { 0 };

    pt_network_init_weights (network, 7);
    g_assert_true (pt_network_save_weights (network, path, &error));
    pipeline = stream_start (network);
    stream_feed (pipeline, &sums, 40, late ? 12 : 1);
    g_assert_true (pt_pipeline_load (pipeline, path, &error));
    stream_feed (pipeline, &sums, 60, 1);
    g_assert_true (pt_pipeline_load (pipeline, path, &error));
    stream_feed (pipeline, &sums, 61, 10);
    stream_drain (pipeline);
    pt_pipeline_stop (pipeline);
    found[late] = stream_hash_weights (network);
  }
  g_assert_cmpuint (found[0], ==, found[1]);
}

int
main (int argc, char **argv)
{
  gint result;

  g_test_init (&argc, &argv, NULL);
  folder = g_dir_make_tmp ("partime-XXXXXX", NULL);
  g_test_add_data_func ("/checkpoint/resume/adam", "adam lr=1e-2",
      test_resume_is_exact);
  g_test_add_data_func ("/checkpoint/resume/amsgrad",
      "adam lr=1e-2 amsgrad=true", test_resume_is_exact);
  g_test_add_data_func ("/checkpoint/resume/sgd",
      "sgd lr=1e-2 momentum=0.9", test_resume_is_exact);
  g_test_add_data_func ("/checkpoint/resume/rmsprop",
      "rmsprop lr=1e-3 centered=true momentum=0.1", test_resume_is_exact);
  for (guint i = 0; i < G_N_ELEMENTS (whole_cases); i++) {
    const WholeCase *c = &whole_cases[i];
    g_autofree gchar *name = g_strdup_printf ("/checkpoint/resume/whole/%s/"
        "%s/%s=%s", c->mode, c->cut, c->key, c->value);

    g_test_add_data_func (name, c, test_resume_whole);
  }
  g_test_add_func ("/checkpoint/resume/part", test_resume_part);
  g_test_add_func ("/checkpoint/resume/cut-at-activation",
      test_resume_cut_at_activation);
  g_test_add_data_func ("/checkpoint/load-drops-gradients/partime", "partime",
      test_load_drops_gradients);
  g_test_add_data_func ("/checkpoint/load-drops-gradients/delayed", "delayed",
      test_load_drops_gradients);
  g_test_add_func ("/checkpoint/async", test_async_does_not_disturb);
  g_test_add_func ("/checkpoint/keep", test_keep);
  g_test_add_func ("/checkpoint/keep-when-full", test_keep_when_full);
  g_test_add_func ("/checkpoint/unwritable", test_unwritable);
  g_test_add_func ("/checkpoint/refused", test_refused);
  g_test_add_data_func ("/checkpoint/weights-and-reset/exact", "exact",
      test_weights_and_reset);
  g_test_add_data_func ("/checkpoint/weights-and-reset/partime", "partime",
      test_weights_and_reset);
  g_test_add_data_func ("/checkpoint/weights-and-reset/delayed", "delayed",
      test_weights_and_reset);
  result = g_test_run ();
  for (const gchar *const *n = (const gchar *[]) { "resume", "async", "sgd",
          "cut", "weights", "keep", "keep.1", "keep.2", NULL }; *n != NULL; n++) {
    g_autofree gchar *name = g_strconcat (*n, ".safetensors", NULL);
    g_autofree gchar *path = get_path (name);

    g_unlink (path);
  }
  g_assert_cmpint (g_rmdir (folder), ==, 0);
  g_free (folder);
  return result;
}
