/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/conv-direct.h"

#include "device/cuda/activation.h"
#include "device/cuda/vec.h"

namespace
{

/* One of the two directions. */
struct Axis
{
  gint in, out, kernel, stride, padding, dilation;
  gint more;                    /* padding at the end than before */

  /* The input that output @o sees through weight @k; not below @in where
   * there is none. */
  PT_HD guint get_input (gint o, gint k) const
  {
    return o * stride - padding + k * dilation;
  }

  /* The output that sees input @i through weight @k; not below @out where
   * there is none. */
  PT_HD guint get_output (gint i, gint k) const
  {
    gint at = i + padding - k * dilation;

    return at < 0 || at % stride != 0 ? out : at / stride;
  }
};

struct Geometry
{
  Axis y, x;
  guint in_c, out_c;
  guint group_in, group_out;    /* channels of one group */
  guint taps;                   /* weights for each pair of channels */
  guint w_o, w_tap, w_i;        /* from one weight to the next */

  PT_HD guint get_weight (guint o, guint tap, guint i) const
  {
    return o * w_o + tap * w_tap + i * w_i;
  }
};

/* An output by a team, which shares the weights. */
struct Forward
{
  Geometry g;
  const gfloat *in, *w, *b, *add;
  gfloat *out;
  PtActivation activation;
  gfloat alpha;

  template < typename Team > PT_HD void
  operator() (guint i, const Team &team) const
  {
    guint pixel = i / g.out_c, o = i % g.out_c;
    guint c = o / g.group_out * g.group_in, n = g.taps * g.group_in;
    gfloat sum = 0;

    for (guint t = team.rank; t < n; t += team.size) {
      guint tap = t / g.group_in, k = t % g.group_in;
      guint y = g.y.get_input (pixel / g.x.out, tap / g.x.kernel);
      guint x = g.x.get_input (pixel % g.x.out, tap % g.x.kernel);

      if (y < (guint) g.y.in && x < (guint) g.x.in)
        sum += in[(y * g.x.in + x) * g.in_c + c + k]
            * w[g.get_weight (o, tap, k)];
    }
    sum = team.sum (sum);
    if (team.rank == 0)
      out[i] = pt_activate_as (activation, sum + (b != NULL ? b[o] : 0)
          + (add != NULL ? add[i] : 0), alpha);
  }
};

/* Each channel for itself; @c counts PtVecs. */
template < int N > struct ForwardDepthwise
{
  Geometry g;
  guint c;
  const PtVec < N > *in, *w, *b, *add;
  PtVec < N > *out;
  PtActivation activation;
  gfloat alpha;

  PT_HD void operator() (guint i) const
  {
    guint pixel = i / c, o = i % c, oy = pixel / g.x.out;
    guint ox = pixel % g.x.out;
    PtVec < N > sum = { };

    if (b != NULL)
      sum = b[o];
    for (gint ky = 0; ky < g.y.kernel; ky++) {
      guint y = g.y.get_input (oy, ky);

      if (y >= (guint) g.y.in)
        continue;
      for (gint kx = 0; kx < g.x.kernel; kx++) {
        guint x = g.x.get_input (ox, kx);

        if (x >= (guint) g.x.in)
          continue;
        PtVec < N > v = in[(y * g.x.in + x) * c + o];
        PtVec < N > weight = w[(ky * g.x.kernel + kx) * c + o];

        for (int k = 0; k < N; k++)
          sum.v[k] += v.v[k] * weight.v[k];
      }
    }
    for (int k = 0; k < N && add != NULL; k++)
      sum.v[k] += add[i].v[k];
    for (int k = 0; k < N; k++)
      sum.v[k] = pt_activate_as (activation, sum.v[k], alpha);
    out[i] = sum;
  }
};

/* Each input gathers from the outputs that see it, in order. */
struct Data
{
  Geometry g;
  const gfloat *dy, *w;
  gfloat *dx;

  PT_HD gfloat add_outputs (guint pixel, guint tap, guint i) const
  {
    guint first = i / g.group_in * g.group_out;
    const gfloat *from = dy + pixel * g.out_c + first;
    gfloat sum = 0;

    for (guint o = 0; o < g.group_out; o++)
      sum += from[o] * w[g.get_weight (first + o, tap, i % g.group_in)];
    return sum;
  }

  PT_HD void operator() (guint at) const
  {
    guint pixel = at / g.in_c, i = at % g.in_c;
    gfloat sum = 0;

    for (gint ky = 0; ky < g.y.kernel; ky++) {
      guint y = g.y.get_output (pixel / g.x.in, ky);

      if (y >= (guint) g.y.out)
        continue;
      for (gint kx = 0; kx < g.x.kernel; kx++) {
        guint x = g.x.get_output (pixel % g.x.in, kx);

        if (x < (guint) g.x.out)
          sum += add_outputs (y * g.x.out + x, ky * g.x.kernel + kx, i);
      }
    }
    dx[at] = sum;
  }
};

template < int N > struct DataDepthwise
{
  Geometry g;
  guint c;
  const PtVec < N > *dy, *w;
  PtVec < N > *dx;

  PT_HD void operator() (guint at) const
  {
    guint pixel = at / c, i = at % c, iy = pixel / g.x.in;
    guint ix = pixel % g.x.in;
    PtVec < N > sum = { };

    for (gint ky = 0; ky < g.y.kernel; ky++) {
      guint y = g.y.get_output (iy, ky);

      if (y >= (guint) g.y.out)
        continue;
      for (gint kx = 0; kx < g.x.kernel; kx++) {
        guint x = g.x.get_output (ix, kx);

        if (x >= (guint) g.x.out)
          continue;
        PtVec < N > v = dy[(y * g.x.out + x) * c + i];
        PtVec < N > weight = w[(ky * g.x.kernel + kx) * c + i];

        for (int k = 0; k < N; k++)
          sum.v[k] += v.v[k] * weight.v[k];
      }
    }
    dx[at] = sum;
  }
};

/* Adds output pixel @t to the gradient of weight @at, in the order they lie;
 * behind the weights come the biases. */
struct Weights
{
  Geometry g;
  guint n;                      /* of weights */
  const gfloat *in, *dy;

  PT_HD void operator() (guint at, guint t, gfloat *sums) const
  {
    guint tap, k, o, y, x;

    if (at >= n) {
      sums[0] += dy[t * g.out_c + at - n];
      return;
    }
    o = at / g.w_o % g.out_c;
    tap = at / g.w_tap % g.taps;
    k = at / g.w_i % g.group_in;
    y = g.y.get_input (t / g.x.out, tap / g.x.kernel);
    x = g.x.get_input (t % g.x.out, tap % g.x.kernel);
    if (y < (guint) g.y.in && x < (guint) g.x.in)
      sums[0] += dy[t * g.out_c + o]
          * in[(y * g.x.in + x) * g.in_c + o / g.group_out * g.group_in + k];
  }
};

struct StoreWeights
{
  guint n;
  gfloat *dw, *db;

  PT_HD void operator() (guint at, const gdouble *sums) const
  {
    if (at < n)
      dw[at] = sums[0];
    else
      db[at - n] = sums[0];
  }
};

}                               // namespace

static Axis
conv_get_axis (const PtOpDesc *desc, guint k)
{
  const PtConvDesc *conv = &desc->conv;

  return Axis { (gint) pt_shape_get_dim (&desc->x, 2 + k),
    (gint) pt_shape_get_dim (&desc->y, 2 + k), conv->kernel[k],
    conv->stride[k], conv->padding[k], conv->dilation[k],
    conv->more_padding[k] };
}

static Geometry
conv_get_geometry (const PtOpDesc *desc)
{
  guint groups = desc->conv.groups;
  Geometry g = { conv_get_axis (desc, 0), conv_get_axis (desc, 1),
    (guint) pt_shape_c (&desc->x), (guint) pt_shape_c (&desc->y) };

  g.group_in = g.in_c / groups;
  g.group_out = g.out_c / groups;
  g.taps = g.y.kernel * g.x.kernel;
  if (pt_cuda_conv_direct_suits (desc)) {
    g.w_o = 1;
    g.w_tap = g.out_c;
    g.w_i = g.taps * g.out_c;
  } else {
    g.w_o = g.taps * g.group_in;
    g.w_tap = g.group_in;
    g.w_i = 1;
  }
  return g;
}

static guint
conv_count_weights (const Geometry *g)
{
  return g->out_c * g->taps * g->group_in;
}

static gboolean
conv_is_depthwise (const Geometry *g)
{
  return g->group_in == 1 && g->group_out == 1;
}

static gboolean
conv_check_axis (const Axis *axis, GError **error)
{
  gint room = axis->in + 2 * axis->padding + axis->more
      - axis->dilation
      * (axis->kernel - 1) - 1;

  if (room >= 0 && axis->out == room / axis->stride + 1)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "an output of %d for an input "
      "of %d, a kernel of %d, stride %d, padding %d and %d, dilation %d",
      axis->out, axis->in, axis->kernel, axis->stride, axis->padding,
      axis->padding + axis->more, axis->dilation);
  return FALSE;
}

static gboolean
conv_plan (PtOp *op, GError **error)
{
  const PtOpDesc *desc = &op->desc;
  gint64 in = pt_shape_c (&desc->x), out = pt_shape_c (&desc->y);
  gint groups = desc->conv.groups;
  Geometry g;

  if (groups < 1 || in % groups != 0 || out % groups != 0) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "%d groups do not divide %"
        G_GINT64_FORMAT " input and %" G_GINT64_FORMAT " output channels",
        groups, in, out);
    return FALSE;
  }
  g = conv_get_geometry (desc);
  op->weights_size = conv_count_weights (&g) * sizeof (gfloat);
  return conv_check_axis (&g.y, error) && conv_check_axis (&g.x, error);
}

static gboolean
conv_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  const PtConvDesc *desc = &op->desc.conv;
  const PtTensor *b = desc->bias ? args->b : NULL;
  const PtTensor *add = desc->add ? args->add : NULL;
  gint64 n = pt_shape_get_n_elements (&op->desc.y);
  Geometry g = conv_get_geometry (&op->desc);
  PtCudaLaunch launch;

  if (!pt_cuda_launch_init (&launch, op, error))
    return FALSE;
  if (!conv_is_depthwise (&g))
    return pt_cuda_teams (&launch, n, g.taps * g.group_in, Forward { g,
          pt_data (args->x), pt_data (args->w), pt_data (b), pt_data (add),
          pt_data (args->y), desc->activation, desc->alpha }, error);
  return pt_cuda_vec (g.out_c,[&] < int N > () {
        typedef PtVec < N > Vec;
        ForwardDepthwise < N > job = { g, g.out_c / N,
          pt_data < Vec > (args->x), pt_data < Vec > (args->w),
          pt_data < Vec > (b), pt_data < Vec > (add),
          pt_data < Vec > (args->y), desc->activation, desc->alpha };

        return pt_cuda_each (&launch, n / N, job, error);
      });
}

static gboolean
conv_run_data (PtOp *op, const PtOpArgs *args, GError **error)
{
  gint64 n = pt_shape_get_n_elements (&op->desc.x);
  Geometry g = conv_get_geometry (&op->desc);
  PtCudaLaunch launch;

  if (!pt_cuda_launch_init (&launch, op, error))
    return FALSE;
  if (!conv_is_depthwise (&g))
    return pt_cuda_each (&launch, n, Data { g, pt_data (args->dy),
          pt_data (args->w), pt_data (args->dx) }, error);
  return pt_cuda_vec (g.in_c,[&] < int N > () {
        typedef PtVec < N > Vec;
        DataDepthwise < N > job = { g, g.in_c / N, pt_data < Vec > (args->dy),
          pt_data < Vec > (args->w), pt_data < Vec > (args->dx) };

        return pt_cuda_each (&launch, n / N, job, error);
      });
}

/* Sums of the weights' gradient and, with them, of the biases'. */
static guint
conv_count_sums (const PtOp *op)
{
  Geometry g = conv_get_geometry (&op->desc);

  return conv_count_weights (&g) + (op->desc.conv.bias ? g.out_c : 0);
}

static gboolean
conv_plan_weights (PtOp *op, GError **error)
{
  if (!conv_plan (op, error))
    return FALSE;
  op->scratch_size = pt_cuda_sum_scratch (conv_count_sums (op),
      pt_shape_h (&op->desc.y) * pt_shape_w (&op->desc.y), 1);
  return TRUE;
}

static gboolean
conv_run_weights (PtOp *op, const PtOpArgs *args, GError **error)
{
  Geometry g = conv_get_geometry (&op->desc);
  guint n = conv_count_weights (&g);
  PtCudaLaunch launch;

  return pt_cuda_launch_init (&launch, op, error)
      && pt_cuda_sum < gfloat, 1 > (&launch, conv_count_sums (op),
      g.y.out * g.x.out, launch.scratch,
      Weights { g, n, pt_data (args->x), pt_data (args->dy) },
      StoreWeights { n, pt_data (args->dw), pt_data (args->db) }, error);
}

/* Between PyTorch's order (O, I / groups, kH, kW) and the device's. */
static void
conv_reorder (const Geometry *g, const gfloat *from, gfloat *to,
    gboolean pack)
{
  guint plain = 0;

  for (guint o = 0; o < g->out_c; o++)
    for (guint i = 0; i < g->group_in; i++)
      for (guint tap = 0; tap < g->taps; tap++, plain++) {
        guint own = g->get_weight (o, tap, i);

        if (pack)
          to[own] = from[plain];
        else
          to[plain] = from[own];
      }
}

static gboolean
conv_pack (PtOp *op, const PtTensor *host, PtTensor *device, GError **error)
{
  PtDevice *dev = op->workspace->device;
  Geometry g = conv_get_geometry (&op->desc);
  g_autofree gfloat *own = g_new (gfloat, conv_count_weights (&g));

  conv_reorder (&g, pt_data (host), own, TRUE);
  return dev->backend->upload (dev, device->data, own, op->weights_size,
      error);
}

static gboolean
conv_unpack (PtOp *op, const PtTensor *device, PtTensor *host, GError **error)
{
  PtDevice *dev = op->workspace->device;
  Geometry g = conv_get_geometry (&op->desc);
  g_autofree gfloat *own = g_new (gfloat, conv_count_weights (&g));

  if (!dev->backend->download (dev, own, device->data, op->weights_size,
          error))
    return FALSE;
  conv_reorder (&g, own, pt_data (host), FALSE);
  return TRUE;
}

const PtOpImpl pt_cuda_conv_direct = {
  .plan = conv_plan,
  .run = conv_run,
  .pack = conv_pack,
  .unpack = conv_unpack,
};

const PtOpImpl pt_cuda_conv_direct_data = {
  .plan = conv_plan,
  .run = conv_run_data,
};

const PtOpImpl pt_cuda_conv_direct_weights = {
  .plan = conv_plan_weights,
  .run = conv_run_weights,
};

PT_CUDA_EMULATE (conv, pt_cuda_conv_direct);
PT_CUDA_EMULATE (conv_data, pt_cuda_conv_direct_data);
PT_CUDA_EMULATE (conv_weights, pt_cuda_conv_direct_weights);
