/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* One step of an optimizer from a state that is given, for tests whose numbers
 * come from elsewhere.
 *
 * usage: optimizer-step OPTIMIZER STEP IN.safetensors OUT.safetensors
 *
 * IN has w, gradient and the slots by their names; OUT w and the slots. */

#include "formats/safetensors.h"
#include "optimizer-rig.h"

static const PtTensor *
find (PtTensorFile *file, const gchar *name)
{
  const PtTensor *tensor = pt_tensor_file_get (file, name);

  if (tensor == NULL)
    g_error ("no tensor \"%s\"", name);
  return tensor;
}

static void
put (PtTensorFile *file, const gchar *name, PtDevice *device,
    const PtTensor *tensor)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtTensor) host = pt_tensor_new_shaped (PT_F32, &tensor->shape,
      &error);

  pt_device_download (device, host, tensor, &error);
  g_assert_no_error (error);
  pt_tensor_file_add (file, name, host);
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtTensorFile) out = pt_tensor_file_new ();
  g_autoptr (PtTensorFile) in = NULL;
  g_autoptr (Rig) rig = NULL;

  g_assert_cmpint (argc, ==, 5);
  in = pt_tensor_file_load (argv[3], &error);
  g_assert_no_error (error);
  rig = rig_new (argv[1], find (in, "w"));
  for (guint i = 0; i < rig->n_slots; i++)
    op_test_write_bytes (rig->device, rig->slots[i], find (in,
            rig->names[i])->data);
  rig_step (rig, g_ascii_strtoull (argv[2], NULL, 10), find (in,
          "gradient")->data);
  put (out, "w", rig->device, rig->w);
  for (guint i = 0; i < rig->n_slots; i++)
    put (out, rig->names[i], rig->device, rig->slots[i]);
  pt_tensor_file_save (out, argv[4], &error);
  g_assert_no_error (error);
  return 0;
}
