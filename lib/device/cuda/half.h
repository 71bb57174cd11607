/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <string.h>

#include "device/cuda/kernel.h"

/* Floats of 16 bits, by their bits. */

static PT_HD guint32
pt_float_bits (gfloat x)
{
  guint32 bits;

  memcpy (&bits, &x, sizeof bits);
  return bits;
}

static PT_HD gfloat
pt_float_of_bits (guint32 bits)
{
  gfloat x;

  memcpy (&x, &bits, sizeof x);
  return x;
}

/* The upper half of a float, rounded to the nearest, ties to even. */
static PT_HD guint16
pt_bf16 (gfloat x)
{
  guint32 bits = pt_float_bits (x);

  if (x != x)
    return bits >> 16 | 0x40;
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

static PT_HD gfloat
pt_of_bf16 (guint16 h)
{
  return pt_float_of_bits ((guint32) h << 16);
}

/* 5 bits of exponent, 10 of fraction; from 65520 on it is infinity. */
static PT_HD guint16
pt_fp16 (gfloat x)
{
  guint32 bits = pt_float_bits (x), sign = bits >> 16 & 0x8000;
  guint32 size = bits & 0x7fffffff;

  if (size > 0x7f800000)
    return sign | 0x7e00;
  if (size >= 0x477ff000)
    return sign | 0x7c00;
  /* subnormal: the last bit of a float in 0.5..1 is 2^-24 */
  if (size < 0x38800000)
    return sign | (pt_float_bits (pt_float_of_bits (size) + 0.5f)
        - 0x3f000000);
  return sign | (size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13;
}

static PT_HD gfloat
pt_of_fp16 (guint16 h)
{
  guint32 sign = (guint32) (h & 0x8000) << 16;
  guint32 size = (guint32) (h & 0x7fff) << 13;

  if (size >= 0x0f800000)
    return pt_float_of_bits (sign | (size + 0x70000000));
  if (size < 0x00800000)
    return pt_float_of_bits (sign
        | pt_float_bits ((h & 0x3ff) * 5.9604644775390625e-8f));
  return pt_float_of_bits (sign | (size + 0x38000000));
}
