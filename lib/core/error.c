/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "partime/error.h"

/**
 * pt_error_quark:
 *
 * Returns: the error domain of everything in the library, see #PtError
 */
G_DEFINE_QUARK (pt-error-quark, pt_error)
