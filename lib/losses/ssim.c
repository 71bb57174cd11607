/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "losses/loss.h"

typedef struct
{
  gint window;
  gdouble sigma, data_range, alpha;
} SsimOptions;

#define SSIM_MAX_WINDOW 255

static const PtParam ssim_params[] = {
  {"window", PT_PARAM_INT, G_STRUCT_OFFSET (SsimOptions, window), "11", 3,
        SSIM_MAX_WINDOW, NULL, "side of the Gaussian window in pixels, odd"},
  {"sigma", PT_PARAM_DOUBLE, G_STRUCT_OFFSET (SsimOptions, sigma), "1.5",
      0.01, 1e3, NULL, "standard deviation of the window in pixels"},
  {"data_range", PT_PARAM_DOUBLE, G_STRUCT_OFFSET (SsimOptions, data_range),
        "1", 1e-6, 1e6, NULL,
      "largest minus smallest value of the target: 1 / std of [network]"},
  {"alpha", PT_PARAM_DOUBLE, G_STRUCT_OFFSET (SsimOptions, alpha), "1", 0, 1,
      NULL, "share of ssim; the rest is l1"},
  {NULL}
};

static gboolean
ssim_check_window (const SsimOptions *options, const PtShape *output,
    GError **error)
{
  gchar found[PT_SHAPE_TEXT_SIZE];

  if (options->window % 2 == 0) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
        "key window: found %d, expected an odd number", options->window);
    return FALSE;
  }
  if (pt_shape_h (output) < options->window ||
      pt_shape_w (output) < options->window) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
        "the network's output has shape %s, expected at least %dx%d pixels, "
        "the size of the window", pt_shape_print (output, found),
        options->window, options->window);
    return FALSE;
  }
  return TRUE;
}

static gboolean
ssim_describe (const PtLoss *loss, const PtShape *output,
    const PtShape *target, PtOpDesc *desc, GError **error)
{
  const SsimOptions *options = loss->options;
  gchar found[PT_SHAPE_TEXT_SIZE], expected[PT_SHAPE_TEXT_SIZE];

  if (output->n_dims != 4) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
        "the network's output has shape %s, expected an image, 1xCxHxW",
        pt_shape_print (output, found));
    return FALSE;
  }
  if (!pt_shape_equal (output, target)) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
        "the network's output has shape %s, expected %s, that of the target",
        pt_shape_print (output, found), pt_shape_print (target, expected));
    return FALSE;
  }
  if (!ssim_check_window (options, output, error))
    return FALSE;
  desc->type = PT_OP_SSIM;
  desc->ssim.window = options->window;
  desc->ssim.sigma = options->sigma;
  desc->ssim.data_range = options->data_range;
  desc->ssim.alpha = options->alpha;
  return TRUE;
}

const PtLossKind pt_loss_ssim = {
  .name = "ssim",
  .summary = "1 - mean structural similarity (Wang et al. 2004) over the "
      "windows that lie inside the image, as pytorch-msssim",
  .options_size = sizeof (SsimOptions),
  .params = ssim_params,
  .target = PT_TARGET_INPUT,
  .describe = ssim_describe,
};
