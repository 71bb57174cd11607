/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "formats/onnx-import.h"

#include <string.h>

/* Models made here: x (1, 2, 3, 4) to y, with the nodes of a test. */

#define MAX_PARTS 8

typedef struct
{
  Onnx__ModelProto model;
  Onnx__GraphProto graph;
  Onnx__OperatorSetIdProto opset;
  Onnx__ValueInfoProto x, y;
  Onnx__TypeProto type;
  Onnx__TypeProto__Tensor tensor_type;
  Onnx__TensorShapeProto shape;
  Onnx__TensorShapeProto__Dimension dims[4];
  Onnx__NodeProto nodes[MAX_PARTS];
  gchar *names[MAX_PARTS][8];
  Onnx__TensorProto tensors[MAX_PARTS];
  Onnx__AttributeProto attribute;
  const gchar *setting;         /* "network.key=value", or NULL */
  gpointer opsets[1], inputs[1], outputs[1], dim_list[4],
      node_list[MAX_PARTS], tensor_list[MAX_PARTS], attributes[1];
} Made;

static inline void
made_init (Made *made)
{
  static const gint64 sizes[] = { 1, 2, 3, 4 };

  memset (made, 0, sizeof *made);
  onnx__model_proto__init (&made->model);
  onnx__graph_proto__init (&made->graph);
  onnx__operator_set_id_proto__init (&made->opset);
  onnx__value_info_proto__init (&made->x);
  onnx__value_info_proto__init (&made->y);
  onnx__type_proto__init (&made->type);
  onnx__type_proto__tensor__init (&made->tensor_type);
  onnx__tensor_shape_proto__init (&made->shape);
  for (guint i = 0; i < 4; i++) {
    onnx__tensor_shape_proto__dimension__init (&made->dims[i]);
    made->dims[i].value_case =
        ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    made->dims[i].dim_value = sizes[i];
    made->dim_list[i] = &made->dims[i];
  }
  made->shape.n_dim = 4;
  made->shape.dim = (gpointer) made->dim_list;
  made->tensor_type.has_elem_type = TRUE;
  made->tensor_type.elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
  made->tensor_type.shape = &made->shape;
  made->type.value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
  made->type.tensor_type = &made->tensor_type;
  made->x.name = "x";
  made->x.type = &made->type;
  made->y.name = "y";
  made->inputs[0] = &made->x;
  made->outputs[0] = &made->y;
  made->opset.has_version = TRUE;
  made->opset.version = 13;
  made->opsets[0] = &made->opset;
  made->model.n_opset_import = 1;
  made->model.opset_import = (gpointer) made->opsets;
  made->model.graph = &made->graph;
  made->graph.n_input = made->graph.n_output = 1;
  made->graph.input = (gpointer) made->inputs;
  made->graph.output = (gpointer) made->outputs;
  made->graph.node = (gpointer) made->node_list;
  made->graph.initializer = (gpointer) made->tensor_list;
}

/* @text: "Conv x w b > y"; the caller keeps it. */
static inline void
made_add_node (Made *made, const gchar *text, gchar ***words)
{
  const guint i = made->graph.n_node++;
  Onnx__NodeProto *node = &made->nodes[i];
  gboolean behind = FALSE;
  guint n = 0;

  onnx__node_proto__init (node);
  made->node_list[i] = node;
  *words = g_strsplit (text, " ", -1);
  node->op_type = (*words)[0];
  node->input = made->names[i];
  for (gchar **word = *words + 1; *word != NULL; word++)
    if (g_str_equal (*word, ">")) {
      behind = TRUE;
      node->output = made->names[i] + n;
    } else {
      made->names[i][n++] = *word;
      node->n_output += behind;
      node->n_input += !behind;
    }
}

/* A constant of @n dimensions @dims. */
static inline Onnx__TensorProto *
made_add_tensor (Made *made, const gchar *name, gint type, gint64 *dims,
    guint n)
{
  const guint i = made->graph.n_initializer++;
  Onnx__TensorProto *tensor = &made->tensors[i];

  onnx__tensor_proto__init (tensor);
  made->tensor_list[i] = tensor;
  tensor->name = (gchar *) name;
  tensor->has_data_type = TRUE;
  tensor->data_type = type;
  tensor->n_dims = n;
  tensor->dims = dims;
  return tensor;
}

static inline PtNetwork *
made_parse (Made *made, const gchar *path, GError **error)
{
  const gsize size = onnx__model_proto__get_packed_size (&made->model);
  const gchar *const settings[] = { made->setting, NULL };
  g_autofree guint8 *data = g_malloc (size);

  onnx__model_proto__pack (&made->model, data);
  return pt_onnx_parse (data, size, path, settings, NULL, error);
}

/* @text: nodes, separated by "; ". */
static inline PtNetwork *
parse_nodes (Made *made, const gchar *text, GError **error)
{
  g_auto (GStrv) parts = g_strsplit (text, "; ", -1);
  gchar **words[MAX_PARTS] = { NULL };
  PtNetwork *network;

  for (guint i = 0; parts[i] != NULL; i++)
    made_add_node (made, parts[i], &words[i]);
  network = made_parse (made, "net.onnx", error);
  for (guint i = 0; i < MAX_PARTS; i++)
    g_strfreev (words[i]);
  return network;
}
