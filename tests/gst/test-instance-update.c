/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Other models and weights for elements that share one network. */

#include "instance-test.h"

static GstMessage *
wait_updated (GstHarness *h, GstBus *bus)
{
  for (guint i = 0; i < 2000; i++) {
    g_autoptr (GstMessage) message = gst_bus_timed_pop_filtered (bus,
        10 * GST_MSECOND, GST_MESSAGE_ELEMENT);

    if (message && gst_message_has_name (message, "partime-model-updated"))
      return g_steal_pointer (&message);
  }
  g_assert_not_reached ();
}

/* New weights are for all. */
static void
test_update (void)
{
  g_autofree gchar *path = element_test_write ("net.cfg", NET_IMAGE);
  g_autofree gchar *settings = g_strdup_printf ("model=%s "
      "model-instance-id=up is-updatable=true", path);
  g_autofree gchar *weights = element_test_path ("up.safetensors");
  GstHarness *a = new_harness (settings), *b = new_harness (settings);
  g_autoptr (GstBus) bus = gst_bus_new ();
  g_autoptr (GstMessage) message = NULL;
  gboolean ok;

  gst_element_set_bus (a->element, bus);
  push (a, 0);
  push (b, 0);
  g_signal_emit_by_name (a->element, "save-checkpoint", weights, &ok);
  while (!g_file_test (weights, G_FILE_TEST_EXISTS))
    g_usleep (1000);
  g_object_set (a->element, "weights", weights, NULL);
  message = wait_updated (a, bus);
  gst_structure_get_boolean (gst_message_get_structure (message), "ok", &ok);
  g_assert_true (ok);
  push (b, 1);
  pull (b, 0);
  pull (b, 1);
  gst_element_set_bus (a->element, NULL);
  gst_harness_teardown (a);
  gst_harness_teardown (b);
}

/* -- another network -- */

/* As NET_IMAGE, but learns otherwise. */
#define NET_FASTER \
  "[network]\nwidth=16\nheight=12\nchannels=3\n" \
  "[conv1]\ntype=conv2d\nfilters=4\nkernel=3\npadding=1\n" \
  "[image]\ntype=conv2d\nfilters=3\nkernel=3\npadding=1\n" \
  "[learning]\nloss=mse\ntarget=input\noptimizer=sgd lr=1e-2\n" \
  "[output]\nkind=image\n[pipeline]\nstages=1\n"
/* The same size, but other layers. */
#define NET_PLAIN \
  "[network]\nwidth=16\nheight=12\nchannels=3\nframes=2\n" \
  "[image]\ntype=conv2d\nfilters=3\nkernel=1\n" \
  "[learning]\nloss=mse\ntarget=input\n[output]\nkind=image\n" \
  "[pipeline]\nstages=1\n"

#define NET_LABELLED \
  "[network]\nwidth=16\nheight=12\nchannels=3\n" \
  "[image]\ntype=conv2d\nfilters=3\nkernel=1\n" \
  "[learning]\nloss=mse\ntarget=labels\n[output]\nkind=image\n"
#define NET_RAW \
  "[network]\nwidth=16\nheight=12\nchannels=3\n" \
  "[image]\ntype=conv2d\nfilters=3\nkernel=1\n[output]\nkind=raw\n"

/* One camera of those that share. */
typedef struct
{
  GstHarness *harness;
  GstBus *bus;
  guint n_in, n_out;
} Sharer;

static void
sharer_init (Sharer *self, const gchar *settings)
{
  *self = (Sharer) { new_harness (settings), gst_bus_new () };
  gst_element_set_bus (self->harness->element, self->bus);
}

static void
sharer_clear (Sharer *self)
{
  gst_element_set_bus (self->harness->element, NULL);
  gst_harness_teardown (self->harness);
  gst_object_unref (self->bus);
}

static void
sharer_pull (Sharer *self)
{
  pull (self->harness, self->n_out++);
}

static void
sharer_run (Sharer *self, guint n)
{
  for (guint i = 0; i < n; i++)
    push (self->harness, self->n_in++);
  while (self->n_out < self->n_in)
    sharer_pull (self);
}

/* Whether partime-model-updated is there; then says what of it. */
static gboolean
sharer_is_updated (Sharer *self, gboolean *ok, gchar **text, gboolean *kept)
{
  for (;;) {
    g_autoptr (GstMessage) message = gst_bus_pop_filtered (self->bus,
        GST_MESSAGE_ELEMENT | GST_MESSAGE_ERROR);
    const GstStructure *fields;

    if (!message)
      return FALSE;
    g_assert_cmpint (GST_MESSAGE_TYPE (message), ==, GST_MESSAGE_ELEMENT);
    if (!gst_message_has_name (message, "partime-model-updated"))
      continue;
    fields = gst_message_get_structure (message);
    g_assert_true (gst_structure_get_boolean (fields, "ok", ok));
    *text = g_strdup (gst_structure_get_string (fields, *ok ? "model" :
            "error"));
    *kept = FALSE;
    gst_structure_get_boolean (fields, "weights-kept", kept);
    return TRUE;
  }
}

/* Frames of @n of them go through until each has told @model. */
static void
sharers_wait (Sharer *sharers, guint n, const gchar *model, gboolean kept)
{
  guint told = 0;

  for (guint i = 0; i < 5000 && told != (1u << n) - 1; i++) {
    for (guint k = 0; k < n; k++) {
      g_autofree gchar *text = NULL;
      gboolean ok, same;

      sharer_run (&sharers[k], 1);
      if (!sharer_is_updated (&sharers[k], &ok, &text, &same))
        continue;
      g_assert_true (ok);
      g_assert_cmpstr (text, ==, model);
      g_assert_cmpint (same, ==, kept);
      told |= 1u << k;
    }
    g_usleep (500);
  }
  g_assert_cmpuint (told, ==, (1u << n) - 1);
}

static guint64
sharer_get (Sharer *self, const gchar *name)
{
  g_autoptr (GstStructure) stats = NULL;
  guint64 value = 0;

  g_object_get (self->harness->element, "stats", &stats, NULL);
  gst_structure_get_uint64 (stats, name, &value);
  return value;
}

static gdouble
sharer_get_rate (Sharer *self)
{
  g_autoptr (GstStructure) stats = NULL;
  gdouble rate = 0;

  g_object_get (self->harness->element, "stats", &stats, NULL);
  gst_structure_get_double (stats, "learning-rate", &rate);
  return rate;
}

/* Asked for at one, it is there for all, with what was learned and counted; and
 * again, with another that has none of it. Who joins later finds that. */
static void
test_replace (void)
{
  g_autofree gchar *path = element_test_write ("net.cfg", NET_IMAGE);
  g_autofree gchar *faster = element_test_write ("faster.cfg", NET_FASTER);
  g_autofree gchar *plain = element_test_write ("plain.cfg", NET_PLAIN);
  g_autofree gchar *settings = g_strdup_printf ("model=%s learning-mode=delayed "
      "learning-rate=0.002 model-instance-id=r is-updatable=true", path);
  g_autofree gchar *late = g_strdup_printf ("model=%s model-instance-id=r",
      plain);
  g_autofree gchar *found = NULL;
  Sharer s[3];

  sharer_init (&s[0], settings);
  sharer_init (&s[1], "model-instance-id=r is-updatable=true");
  for (guint i = 0; i < 2; i++)
    sharer_run (&s[i], 10);
  /* frames are inside */
  push (s[0].harness, s[0].n_in++);
  g_object_set (s[1].harness->element, "model", faster, NULL);
  sharers_wait (s, 2, faster, TRUE);
  for (guint i = 0; i < 2; i++) {
    sharer_run (&s[i], 10);
    g_assert_cmpuint (sharer_get (&s[i], "frames"), ==, s[i].n_out);
    g_assert_cmpuint (sharer_get (&s[i], "learned"), ==, s[i].n_out);
    /* set at one element, it is for all */
    g_assert_cmpfloat (sharer_get_rate (&s[i]), ==, 0.002);
  }
  g_object_get (s[0].harness->element, "model", &found, NULL);
  g_assert_cmpstr (found, ==, faster);
  g_object_set (s[0].harness->element, "model", plain, NULL);
  sharers_wait (s, 2, plain, FALSE);
  g_assert_cmpuint (sharer_get (&s[0], "frames"), <, s[0].n_out);
  sharer_init (&s[2], late);
  for (guint i = 0; i < 3; i++)
    sharer_run (&s[i], 10);
  for (guint i = 0; i < 3; i++)
    sharer_clear (&s[i]);
}

/* What one of them could not go on with is refused; only who asked is told. */
static void
test_replace_refused (void)
{
  static const struct
  {
    const gchar *network, *text;
  } cases[] = {
    {NULL, "none.cfg"},
    {"[network]\nwidth=8\nheight=12\nchannels=3\n[a]\ntype=relu\n"
          "[output]\nkind=image\n", "frames of another size"},
    {"[network]\nwidth=16\nheight=12\nchannels=3\n[a]\ntype=max-pool2d\n"
          "kernel=2\n[output]\nkind=image\n",
          "outputs of other names or shapes"},
    {NET_LABELLED, "other labels"},
    {NET_RAW, "element two: output=network"},
  };
  g_autofree gchar *path = element_test_write ("net.cfg", NET_IMAGE);
  g_autofree gchar *settings = g_strdup_printf ("model=%s name=one "
      "model-instance-id=bad is-updatable=true", path);
  Sharer s[2];

  sharer_init (&s[0], settings);
  sharer_init (&s[1], "model-instance-id=bad name=two output=network");
  for (guint i = 0; i < 2; i++)
    sharer_run (&s[i], 5);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree gchar *bad = cases[i].network ? element_test_write ("bad.cfg",
        cases[i].network) : element_test_path ("none.cfg");
    g_autofree gchar *text = NULL, *found = NULL;
    gboolean ok, kept;

    g_object_set (s[0].harness->element, "model", bad, NULL);
    while (!sharer_is_updated (&s[0], &ok, &text, &kept))
      g_usleep (1000);
    g_test_message ("%s", text);
    g_assert_false (ok);
    g_assert_nonnull (strstr (text, cases[i].text));
    g_object_get (s[0].harness->element, "model", &found, NULL);
    g_assert_cmpstr (found, ==, path);
    for (guint k = 0; k < 2; k++)
      sharer_run (&s[k], 5);
    g_assert_false (sharer_is_updated (&s[1], &ok, &text, &kept));
  }
  for (guint i = 0; i < 2; i++)
    g_assert_cmpuint (sharer_get (&s[i], "frames"), ==, s[i].n_out);
  for (guint i = 0; i < 2; i++)
    sharer_clear (&s[i]);
}

/* An application that saves the network as soon as it hears of it. */
static GstBusSyncReply
save_on_update (GstBus *bus, GstMessage *message, gpointer data)
{
  Sharer *other = data;
  g_autofree gchar *path = element_test_path ("heard.safetensors");
  gboolean saves = FALSE;

  if (gst_message_has_name (message, "partime-model-updated")) {
    g_signal_emit_by_name (other->harness->element, "save-checkpoint", path,
        &saves);
    g_assert_true (saves);
  }
  return GST_BUS_PASS;
}

/* One that stands still with frames inside, and one that has had none, hold up
 * nobody, however often it changes; then they go on in the newest. */
static void
test_replace_idle (void)
{
  g_autofree gchar *path = element_test_write ("net.cfg", NET_IMAGE);
  g_autofree gchar *faster = element_test_write ("faster.cfg", NET_FASTER);
  g_autofree gchar *settings = g_strdup_printf ("model=%s "
      "model-instance-id=idle is-updatable=true", path);
  Sharer s[3];
  gboolean ok, kept;
  gchar *text;

  sharer_init (&s[0], settings);
  sharer_init (&s[1], "model-instance-id=idle");
  s[2] = (Sharer) { gst_harness_new_parse ("partimefilter "
        "model-instance-id=idle"), gst_bus_new () };
  sharer_run (&s[1], 4);
  for (guint i = 0; i < 2; i++)
    push (s[1].harness, s[1].n_in++);
  for (guint round = 0; round < 4; round++) {
    const gchar *next = round % 2 ? path : faster;

    g_object_set (s[0].harness->element, "model", next, NULL);
    sharers_wait (s, 1, next, TRUE);
  }
  sharer_run (&s[1], 5);
  g_assert_cmpuint (sharer_get (&s[1], "frames"), ==, s[1].n_out);
  for (guint told = 0; told < 4; told++) {
    while (!sharer_is_updated (&s[1], &ok, &text, &kept))
      g_usleep (1000);
    g_free (text);
  }
  gst_element_set_bus (s[2].harness->element, s[2].bus);
  gst_bus_set_sync_handler (s[2].bus, save_on_update, &s[0], NULL);
  gst_harness_set_src_caps_str (s[2].harness, "video/x-raw,format=RGB,"
      "width=20,height=14,framerate=25/1");
  sharer_run (&s[2], 5);
  g_assert_true (sharer_is_updated (&s[2], &ok, &text, &kept));
  g_free (text);
  for (guint i = 0; i < 3; i++)
    sharer_clear (&s[i]);
}

typedef struct
{
  gchar *models[3];
  const gchar *settings;
} Unrest;

/* Frames in and out, ends, flushes and new models, until it leaves. */
static gpointer
unrest_run (gpointer data)
{
  Unrest *self = data;
  GRand *rand = g_rand_new_with_seed (GPOINTER_TO_UINT (g_thread_self ()));
  Sharer s;

  for (guint life = 0; life < 4; life++) {
    sharer_init (&s, self->settings);
    for (guint i = 0; i < 40; i++) {
      gint what = g_rand_int_range (rand, 0, 12);
      GstSegment segment;

      if (what < 3)
        g_object_set (s.harness->element, "model", self->models[what], NULL);
      if (what < 8) {
        sharer_run (&s, what);
      } else if (what < 10) {
        for (gint k = 0; k < what - 6; k++)
          push (s.harness, s.n_in++);
      } else {
        g_assert_true (gst_harness_push_event (s.harness, what == 10 ?
                gst_event_new_eos () : gst_event_new_flush_start ()));
        if (what == 10)
          g_assert_true (gst_harness_push_event (s.harness,
                  gst_event_new_flush_start ()));
        g_assert_true (gst_harness_push_event (s.harness,
                gst_event_new_flush_stop (TRUE)));
        gst_segment_init (&segment, GST_FORMAT_TIME);
        g_assert_true (gst_harness_push_event (s.harness,
                gst_event_new_segment (&segment)));
        for (GstBuffer *old; (old = gst_harness_try_pull (s.harness));)
          gst_buffer_unref (old);
        s.n_in = s.n_out = 0;
      }
      g_usleep (g_rand_int_range (rand, 0, 2000));
    }
    sharer_clear (&s);
  }
  g_rand_free (rand);
  return NULL;
}

/* All that can come in the way of it, from three at once. */
static void
test_replace_unrest (void)
{
  g_autofree gchar *settings = NULL;
  Unrest unrest = { {
          element_test_write ("a.cfg", NET_IMAGE),
          element_test_write ("b.cfg", NET_FASTER),
          element_test_write ("c.cfg", NET_PLAIN)}, };
  GThread *threads[3];

  settings = g_strdup_printf ("model-instance-id=unrest is-updatable=true "
      "learning-mode=delayed");
  unrest.settings = settings;
  {
    g_autofree gchar *first = g_strdup_printf ("%s model=%s", settings,
        unrest.models[0]);
    Sharer keeper;

    sharer_init (&keeper, first);
    sharer_run (&keeper, 3);
    for (guint i = 0; i < 3; i++)
      threads[i] = g_thread_new ("sharer", unrest_run, &unrest);
    for (guint i = 0; i < 3; i++)
      g_thread_join (threads[i]);
    sharer_run (&keeper, 20);
    sharer_clear (&keeper);
  }
  for (guint i = 0; i < 3; i++)
    g_free (unrest.models[i]);
}

int
main (int argc, char **argv)
{
  element_test_init (&argc, &argv);
  g_test_add_func ("/instance-update/weights", test_update);
  g_test_add_func ("/instance-update/all", test_replace);
  g_test_add_func ("/instance-update/refused", test_replace_refused);
  g_test_add_func ("/instance-update/idle", test_replace_idle);
  g_test_add_func ("/instance-update/unrest", test_replace_unrest);
  return element_test_run ();
}
