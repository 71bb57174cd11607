/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/cuda/cuda.h"

G_BEGIN_DECLS

/* Convolutions of any kind and linear layers, without cuDNN: a convolution of
 * each channel for itself is best done so, the others can be. Weights lie as
 * (O, kH, kW, I / groups), which is cuDNN's order for channels-last tensors.
 * None of them keeps anything in op->priv. */

/* Whether each group has one input channel. Then this is the fastest, and
 * weights lie as (kH, kW, O), so that neighbouring threads read
 * neighbours. */
static inline gboolean
pt_cuda_conv_direct_suits (const PtOpDesc *desc)
{
  return desc->conv.groups > 1 && pt_shape_c (&desc->x) == desc->conv.groups;
}

extern const PtOpImpl pt_cuda_conv_direct;
extern const PtOpImpl pt_cuda_conv_direct_data;
extern const PtOpImpl pt_cuda_conv_direct_weights;
extern const PtOpImpl pt_cuda_linear_direct;
extern const PtOpImpl pt_cuda_linear_direct_data;
extern const PtOpImpl pt_cuda_linear_direct_weights;

/* Another name for @impl, as there is no cuDNN in the tests. */
#ifdef PT_CUDA_EMULATED
#define PT_CUDA_EMULATE(name, impl) \
  extern const PtOpImpl pt_cuda_##name __attribute__ ((alias (#impl)))
#else
#define PT_CUDA_EMULATE(name, impl) G_STATIC_ASSERT (TRUE)
#endif

G_END_DECLS
