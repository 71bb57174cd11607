/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "core/tensor.h"
#include "device/cpu/kernel.h"
#include "device/cpu/pool-plain.h"

/* Pools that oneDNN lacks: p-norms, means of windows that reach over the
 * padding, which do not count what they have there, and dilated ones. */

/* One of the two directions. */
typedef struct
{
  gint64 in, out, kernel, stride, padding, end, dilation;
} PlainAxis;

typedef struct
{
  PlainAxis y, x;
  gint64 c;
  const PtPoolDesc *desc;
  const gfloat *from, *dy, *to_read;    /* to_read: y of the p-norms */
  gfloat *to;
} PlainJob;

static PlainAxis
plain_get_axis (const PtOpDesc *desc, guint k)
{
  const PtPoolDesc *pool = &desc->pool;
  gint64 in = pt_shape_get_dim (&desc->x, 2 + k);

  return (PlainAxis) { in, pt_shape_get_dim (&desc->y, 2 + k),
    pool->kernel[k], pool->stride[k], pool->padding[k],
    in + pool->padding[k] + pool->more_padding[k], MAX (pool->dilation[k], 1)
  };
}

gboolean
pt_cpu_pool_plain_suits (const PtOpDesc *desc)
{
  if (desc->pool.kind == PT_POOL_LP)
    return TRUE;
  for (guint k = 0; k < 2 && desc->pool.kind == PT_POOL_AVG; k++) {
    PlainAxis axis = plain_get_axis (desc, k);
    gint64 reach = (axis.out - 1) * axis.stride - axis.padding + axis.kernel;

    if (axis.dilation > 1 ||
        (desc->pool.count_include_pad && reach > axis.end))
      return TRUE;
  }
  return FALSE;
}

/* Elements of a window that begins at @start: those before @end. */
PT_INLINE gint64
plain_count (const PlainAxis *axis, gint64 start, gint64 end)
{
  gint64 n = start < end ? (end - start - 1) / axis->dilation + 1 : 0;

  return MIN (n, axis->kernel);
}

/* Those of output @o that count in the mean. */
PT_INLINE gint64
plain_weight (const PlainJob *job, const PlainAxis *axis, gint64 o)
{
  gint64 start = o * axis->stride - axis->padding;

  if (job->desc->count_include_pad)
    return plain_count (axis, start, axis->end);
  return plain_count (axis, start, axis->in) - plain_count (axis, start, 0);
}

/* What the sum over a window becomes, or dy before it is shared out. */
PT_INLINE gfloat
plain_share (const PlainJob *job, gint64 oy, gint64 ox)
{
  return job->desc->kind == PT_POOL_LP ? 1 :
      1.f / (plain_weight (job, &job->y, oy) *
      plain_weight (job, &job->x, ox));
}

/* to += |x|^p or x */
PT_INLINE void
plain_add (const PtPoolDesc *desc, const gfloat *x, gfloat *to, gint64 c)
{
  if (desc->kind == PT_POOL_AVG)
#pragma omp simd
    for (gint64 k = 0; k < c; k++)
      to[k] += x[k];
  else if (desc->p == 2)
#pragma omp simd
    for (gint64 k = 0; k < c; k++)
      to[k] += x[k] * x[k];
  else
    for (gint64 k = 0; k < c; k++)
      to[k] += powf (fabsf (x[k]), desc->p);
}

PT_INLINE void
plain_finish (const PtPoolDesc *desc, gfloat share, gfloat *to, gint64 c)
{
  if (desc->kind == PT_POOL_AVG)
    for (gint64 k = 0; k < c; k++)
      to[k] *= share;
  else if (desc->p == 2)
    for (gint64 k = 0; k < c; k++)
      to[k] = sqrtf (to[k]);
  else
    for (gint64 k = 0; k < c; k++)
      to[k] = powf (to[k], 1.f / desc->p);
}

static PT_CLONES void
plain_rows (gconstpointer data, gint64 begin, gint64 end)
{
  const PlainJob *job = data;
  const PlainAxis *h = &job->y, *w = &job->x;

  for (gint64 oy = begin; oy < end; oy++)
    for (gint64 ox = 0; ox < w->out; ox++) {
      gfloat *to = job->to + (oy * w->out + ox) * job->c;

      memset (to, 0, job->c * sizeof *to);
      for (gint64 ky = 0; ky < h->kernel; ky++) {
        gint64 iy = oy * h->stride - h->padding + ky * h->dilation;

        for (gint64 kx = 0; iy >= 0 && iy < h->in && kx < w->kernel; kx++) {
          gint64 ix = ox * w->stride - w->padding + kx * w->dilation;

          if (ix >= 0 && ix < w->in)
            plain_add (job->desc, job->from + (iy * w->in + ix) * job->c, to,
                job->c);
        }
      }
      plain_finish (job->desc, plain_share (job, oy, ox), to, job->c);
    }
}

/* dx += dy / n, or dy sign (x) (|x| / y)^(p - 1) */
PT_INLINE void
plain_add_back (const PlainJob *job, gint64 i, gint64 o, gfloat share)
{
  const PtPoolDesc *desc = job->desc;
  const gfloat *dy = job->dy + o * job->c, *x, *y;
  gfloat *dx = job->to + i * job->c;

  if (desc->kind == PT_POOL_AVG) {
#pragma omp simd
    for (gint64 k = 0; k < job->c; k++)
      dx[k] += dy[k] * share;
    return;
  }
  x = job->from + i * job->c;
  y = job->to_read + o * job->c;
  for (gint64 k = 0; k < job->c; k++)
    if (y[k] > 0 && x[k] != 0)
      dx[k] += dy[k] * (desc->p == 2 ? x[k] / y[k] :
          copysignf (powf (fabsf (x[k]) / y[k], desc->p - 1), x[k]));
}

/* Each input row gathers from the windows that it lies in, in order. */
static PT_CLONES void
plain_rows_backward (gconstpointer data, gint64 begin, gint64 end)
{
  const PlainJob *job = data;
  const PlainAxis *h = &job->y, *w = &job->x;

  memset (job->to + begin * w->in * job->c, 0,
      (end - begin) * w->in * job->c * sizeof (gfloat));
  for (gint64 iy = begin; iy < end; iy++)
    for (gint64 ky = h->kernel - 1; ky >= 0; ky--) {
      gint64 at = iy + h->padding - ky * h->dilation, oy = at / h->stride;

      if (at < 0 || at % h->stride != 0 || oy >= h->out)
        continue;
      for (gint64 ox = 0; ox < w->out; ox++) {
        gfloat share = plain_share (job, oy, ox);

        for (gint64 kx = 0; kx < w->kernel; kx++) {
          gint64 ix = ox * w->stride - w->padding + kx * w->dilation;

          if (ix >= 0 && ix < w->in)
            plain_add_back (job, iy * w->in + ix, oy * w->out + ox, share);
        }
      }
    }
}

static PlainJob
plain_get_job (const PtOp *op)
{
  const PtOpDesc *desc = &op->desc;

  return (PlainJob) {.y = plain_get_axis (desc, 0),.x =
        plain_get_axis (desc, 1),.c = pt_shape_c (&desc->x),
    .desc = &desc->pool
  };
}

void
pt_cpu_pool_plain (const PtOp *op, const PtOpArgs *args)
{
  PlainJob job = plain_get_job (op);

  job.from = args->x->data;
  job.to = args->y->data;
  pt_cpu_for (op, job.y.out, job.x.out * job.c * job.y.kernel * job.x.kernel,
      plain_rows, &job);
}

void
pt_cpu_pool_plain_backward (const PtOp *op, const PtOpArgs *args)
{
  PlainJob job = plain_get_job (op);

  job.dy = args->dy->data;
  job.to = args->dx->data;
  if (op->desc.pool.kind == PT_POOL_LP) {
    job.from = args->x->data;
    job.to_read = args->y->data;
  }
  pt_cpu_for (op, job.y.in, job.x.out * job.c * job.x.kernel,
      plain_rows_backward, &job);
}
