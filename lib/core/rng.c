/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "core/rng.h"

/* The finalizer of splitmix64 (Steele, Lea, Flood 2014). */
static inline guint64
rng_scramble (guint64 z)
{
  z = (z ^ (z >> 30)) * G_GUINT64_CONSTANT (0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * G_GUINT64_CONSTANT (0x94d049bb133111eb);
  return z ^ (z >> 31);
}

guint64
pt_rng_mix (guint64 seed, guint64 stream, guint64 counter)
{
  const guint64 golden = G_GUINT64_CONSTANT (0x9e3779b97f4a7c15);
  guint64 key = rng_scramble (seed + golden) ^ rng_scramble (stream - golden);

  return rng_scramble (key + (counter + 1) * golden);
}

/* FNV-1a of a name, so that a stream depends on nothing but the name. */
guint64
pt_rng_stream (const gchar *name)
{
  guint64 hash = G_GUINT64_CONSTANT (0xcbf29ce484222325);

  for (; *name != '\0'; name++)
    hash = (hash ^ (guchar) *name) * G_GUINT64_CONSTANT (0x100000001b3);
  return hash;
}

/* @n numbers uniform in [@low, @high), with 24 random bits each. */
void
pt_rng_fill_uniform (gfloat *data, gsize n, gfloat low, gfloat high,
    guint64 seed, guint64 stream)
{
  for (gsize i = 0; i < n; i++)
    data[i] = low + (high - low) *
        ((pt_rng_mix (seed, stream, i) >> 40) * 0x1p-24f);
}
