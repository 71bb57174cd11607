/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "fuzz.h"
#include "partime/partime.h"

#define NETWORK \
    "[network]\nwidth=4\nheight=4\nchannels=1\n" \
    "[a]\ntype=conv2d\nfilters=2\nkernel=3\npadding=1\n" \
    "[b]\ntype=batch-norm\n" \
    "[c]\ntype=conv2d\nfilters=1\nkernel=1\n" \
    "[learning]\nmode=delayed\nloss=mse\ntarget=input\n" \
    "optimizer=adam lr=1e-4\nschedule=plateau\naccumulate=2\n" \
    "[pipeline]\ndevices=cpu:0\nstages=2,-1\n"

static PtPipeline *pipeline;
static PtTensor *frame;

/* One frame; it comes out finite, whatever was loaded. */
static void
step (void)
{
  g_autoptr (PtResult) result = NULL;

  g_assert_cmpint (pt_pipeline_push (pipeline, frame, NULL, PT_PUSH_NONE,
          NULL), ==, PT_FLOW_OK);
  g_assert_cmpint (pt_pipeline_pull (pipeline, &result, NULL), ==, PT_FLOW_OK);
  for (gsize i = 0; i < pt_tensor_get_n_elements (result->output); i++) {
    const gfloat y = ((gfloat *) pt_tensor_get_data (result->output))[i];

    g_assert_true (y - y == 0);
  }
}

/* What whole checkpoints look like: PARTIME_FUZZ_SEEDS is where they go. */
static void
leave_seeds (const gchar *folder)
{
  for (guint i = 0; i < 4; i++) {
    g_autofree gchar *path =
        g_strdup_printf ("%s/%u.safetensors", folder, i);

    g_assert_true (pt_pipeline_save (pipeline, path, NULL));
    step ();
  }
}

gint
LLVMFuzzerInitialize (gint *argc, gchar ***argv)
{
  const gint64 dims[] = { 1, 4, 4 };
  const gchar *seeds = g_getenv ("PARTIME_FUZZ_SEEDS");
  g_autoptr (PtNetwork) network =
      pt_network_new_from_data (NETWORK, -1, "fuzz.cfg", NULL);

  frame = pt_tensor_new (PT_F32, dims, 3, NULL);
  pipeline = pt_pipeline_new (network, NULL);
  g_assert_nonnull (pipeline);
  g_assert_true (pt_pipeline_start (pipeline, NULL));
  if (seeds != NULL)
    leave_seeds (seeds);
  return 0;
}

/* A checkpoint, loaded in between or, of every fourth size, gone on from. */
gint
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  const gchar *path = pt_fuzz_file (0, data, size);
  g_autoptr (GError) error = NULL;
  gboolean done, whole;

  if (size % 4 == 0) {
    pt_pipeline_stop (pipeline);
    g_assert_true (pt_pipeline_start (pipeline, NULL));
    done = pt_pipeline_resume (pipeline, path, &whole, &error);
  } else {
    done = pt_pipeline_load (pipeline, path, &error);
  }
  g_assert_true (done == (error == NULL));
  step ();
  return 0;
}

gsize
LLVMFuzzerCustomMutator (guint8 *data, gsize size, gsize max, guint seed)
{
  return pt_fuzz_mutate_safetensors (data, size, max, seed);
}
