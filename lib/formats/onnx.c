/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-fold.h"

#include <string.h>

#define MODEL_OLDEST 1
#define MODEL_NEWEST 22

static const OnnxOperator *const model_tables[] = {
  pt_onnx_ops,
  pt_onnx_ops_activation,
  pt_onnx_ops_compare,
  pt_onnx_ops_eltwise,
  pt_onnx_ops_norm,
  pt_onnx_ops_part,
  pt_onnx_ops_products,
  pt_onnx_ops_resize,
  pt_onnx_ops_scatter,
  pt_onnx_ops_structure,
  pt_onnx_ops_window,
  NULL
};

gboolean
pt_onnx_fail (const OnnxImport *self, GError **error, const gchar *format, ...)
{
  g_autofree gchar *message = NULL;
  va_list args;

  va_start (args, format);
  message = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED,
      "%s: cannot use the ONNX model: %s", self->path, message);
  return FALSE;
}

/* protobuf-c leaves NULL where a text is missing. */
static gboolean
model_check_name (const OnnxImport *self, const gchar *text,
    const gchar *what, gsize i, GError **error)
{
  return text != NULL || pt_onnx_fail (self, error, "found %s %"
      G_GSIZE_FORMAT " without a name, expected one", what, i);
}

/* Of the graph and those within it, which the guard has bounded. */
static gboolean
model_check_texts (const OnnxImport *self, const Onnx__GraphProto *graph,
    GError **error)
{
  for (gsize i = 0; i < graph->n_initializer; i++)
    if (!model_check_name (self, graph->initializer[i]->name, "initializer", i,
            error))
      return FALSE;
  for (gsize i = 0; i < graph->n_input; i++)
    if (!model_check_name (self, graph->input[i]->name, "input", i, error))
      return FALSE;
  for (gsize i = 0; i < graph->n_output; i++)
    if (!model_check_name (self, graph->output[i]->name, "output", i, error))
      return FALSE;
  for (gsize i = 0; i < graph->n_node; i++) {
    const Onnx__NodeProto *node = graph->node[i];

    if (!model_check_name (self, node->op_type, "the operator of node", i,
            error))
      return FALSE;
    for (gsize j = 0; j < node->n_attribute; j++)
      if (node->attribute[j]->g != NULL &&
          !model_check_texts (self, node->attribute[j]->g, error))
        return FALSE;
  }
  return TRUE;
}

static gboolean
model_find_opset (OnnxImport *self, const Onnx__ModelProto *model,
    GError **error)
{
  for (gsize i = 0; i < model->n_opset_import; i++) {
    const Onnx__OperatorSetIdProto *set = model->opset_import[i];

    if (set->domain == NULL || *set->domain == '\0' ||
        strcmp (set->domain, "ai.onnx") == 0)
      self->opset = set->version;
  }
  if (self->opset >= MODEL_OLDEST && self->opset <= MODEL_NEWEST)
    return TRUE;
  return pt_onnx_fail (self, error, "found opset %" G_GINT64_FORMAT ", expected "
      "%d to %d: convert it (onnx.version_converter)", self->opset,
      MODEL_OLDEST, MODEL_NEWEST);
}

/* Inputs whose values the caller knows. */
static gboolean
model_add_given (OnnxImport *self, GError **error)
{
  gpointer name, tensor;
  GHashTableIter iter;

  if (self->constants == NULL)
    return TRUE;
  g_hash_table_iter_init (&iter, self->constants);
  while (g_hash_table_iter_next (&iter, &name, &tensor)) {
    const OnnxValue value = {.constant = tensor,
      .rank = ((Onnx__TensorProto *) tensor)->n_dims
    };

    if (!pt_onnx_add_value (self, name, &value, error))
      return FALSE;
  }
  return TRUE;
}

/* -- nodes -- */

/* @name is needed; @n more read it. */
static void
model_count (OnnxImport *self, const gchar *name, guint n)
{
  n += GPOINTER_TO_UINT (g_hash_table_lookup (self->uses, name));
  g_hash_table_insert (self->uses, (gpointer) name, GUINT_TO_POINTER (n));
}

/* What @node needs, and what the graphs within it do. Who asks only for a
 * shape does not mind what else happens to the values. */
static void
model_count_inputs (OnnxImport *self, const Onnx__NodeProto *node)
{
  const gboolean reads = !g_str_equal (node->op_type, "Shape") &&
      !g_str_equal (node->op_type, "Size");

  for (gsize i = 0; i < node->n_input; i++)
    model_count (self, node->input[i], reads);
  for (gsize i = 0; i < node->n_attribute; i++) {
    const Onnx__GraphProto *graph = node->attribute[i]->g;

    for (gsize j = 0; graph != NULL && j < graph->n_node; j++)
      model_count_inputs (self, graph->node[j]);
    for (gsize j = 0; graph != NULL && j < graph->n_output; j++)
      if (graph->output[j]->name != NULL)
        model_count (self, graph->output[j]->name, 1);
  }
}

/* Only nodes that the outputs need, counting readers on the way: a graph is
 * sorted, so that one pass from the end finds them. */
static gboolean *
model_mark (OnnxImport *self, const Onnx__GraphProto *graph)
{
  gboolean *needed = g_new0 (gboolean, graph->n_node + 1);

  for (gsize i = graph->n_node; i-- > 0;) {
    const Onnx__NodeProto *node = graph->node[i];

    for (gsize j = 0; j < node->n_output; j++)
      needed[i] |= g_hash_table_contains (self->uses, node->output[j]);
    if (needed[i])
      model_count_inputs (self, node);
  }
  return needed;
}

static const OnnxOperator *
model_find_operator (const gchar *name)
{
  for (guint i = 0; model_tables[i] != NULL; i++)
    for (const OnnxOperator *at = model_tables[i]; at->name != NULL; at++)
      if (strcmp (at->name, name) == 0)
        return at;
  return NULL;
}

static gboolean
model_check_inputs (const OnnxImport *self, GError **error)
{
  for (gsize i = 0; i < self->node->n_input; i++) {
    const gchar *name = self->node->input[i];
    g_autofree gchar *quoted = pt_params_quote (name);

    if (*name != '\0' && !g_hash_table_contains (self->values, name))
      return pt_onnx_refuse (self, error, "found input %s, which nothing above "
          "makes, expected nodes in order, without cycles", quoted);
  }
  return TRUE;
}

static gboolean model_add_graph (OnnxImport * self,
    const Onnx__GraphProto * graph, GError ** error);

/* The branch that its constant condition chooses, in its place. */
static gboolean
model_add_if (OnnxImport *self, GError **error)
{
  const Onnx__TensorProto *tensor = pt_onnx_need_constant (self, 0, error);
  const Onnx__NodeProto *node = self->node;
  const Onnx__AttributeProto *branch;
  g_autofree gfloat *condition = NULL;

  if (tensor == NULL ||
      (condition = pt_onnx_tensor_get_floats (self, tensor, error)) == NULL)
    return FALSE;
  branch = pt_onnx_find (self, condition[0] != 0 ? "then_branch" :
      "else_branch");
  if (branch == NULL || branch->g == NULL ||
      branch->g->n_output != node->n_output)
    return pt_onnx_refuse (self, error, "found no branch with %"
        G_GSIZE_FORMAT " outputs, expected one", node->n_output);
  if (!model_add_graph (self, branch->g, error))
    return FALSE;
  self->node = node;
  for (gsize i = 0; i < node->n_output; i++) {
    const OnnxValue *value =
        g_hash_table_lookup (self->values, branch->g->output[i]->name);
    OnnxValue copy;

    if (value == NULL)
      return pt_onnx_refuse (self, error, "found a branch whose output %"
          G_GSIZE_FORMAT " nothing makes", i);
    copy = *value;
    if (*node->output[i] != '\0' &&
        !pt_onnx_add_value (self, node->output[i], &copy, error))
      return FALSE;
  }
  return TRUE;
}

/* How to end the network with what the node reads. */
static gchar *
model_find_before (const OnnxImport *self)
{
  for (gsize i = 0; i < self->node->n_input; i++) {
    const OnnxValue *value = pt_onnx_get_input (self, i);

    if (value != NULL && value->constant == NULL && value->layer >= 0)
      return g_strdup_printf ("; network.output=%.200s ends before it",
          self->node->input[i]);
  }
  return g_strdup ("");
}

/* Why an operator is not there, and what can be done. */
static gboolean
model_refuse_operator (OnnxImport *self, GError **error)
{
  static const gchar *const reasons[][2] = {
    {" LSTM GRU RNN Scan ", "a recurrent operator, expected a feed-forward "
          "model: let it see several frames at once (network.frames)"},
    {" Loop ", "control flow, expected a fixed graph: export it by tracing, or "
          "simplify it (onnxsim)"},
    {" QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearConv "
          "QLinearMatMul ConvInteger MatMulInteger ",
          "a quantised operator, expected floats: export the model before it "
          "was quantised"},
    {" Compress NonMaxSuppression NonZero OneHot RoiAlign TopK Unique ",
          "a choice of places by what is seen there, expected what works on all "
          "places alike"},
    {" SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert "
          "SequenceLength SequenceMap SplitToSequence ConcatFromSequence "
          "Optional OptionalGetElement OptionalHasElement ",
          "a sequence, expected tensors: export the model without lists"},
  };
  g_autofree gchar *word = g_strconcat (" ", self->node->op_type, " ", NULL);
  g_autofree gchar *before = model_find_before (self);
  GString *names;

  for (guint i = 0; i < G_N_ELEMENTS (reasons); i++)
    if (strstr (reasons[i][0], word) != NULL)
      return pt_onnx_refuse (self, error, "found %s%s", reasons[i][1], before);
  names = g_string_new (NULL);
  for (guint i = 0; model_tables[i] != NULL; i++)
    for (const OnnxOperator *at = model_tables[i]; at->name; at++)
      g_string_append_printf (names, " %s", at->name);
  pt_onnx_refuse (self, error, "found an operator that is not taken, expected "
      "of Constant If Shape Size%s: simplify the model (onnxsim), or write the "
      "layers as a network file%s", names->str, before);
  g_string_free (names, TRUE);
  return FALSE;
}

/* Of more than one frame, an operator must not mix them. These do not, or look
 * at self->batch themselves. */
static gboolean
model_check_frames (OnnxImport *self, GError **error)
{
  static const gchar apart[] =
      " Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool "
      "BatchNormalization Cast Ceil Celu Clip Concat Conv ConvTranspose Cos "
      "Cosh DepthToSpace Div Dropout Einsum Elu Equal Erf Exp Expand Flatten "
      "Floor Gather Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool "
      "Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish "
      "Identity InstanceNormalization IsNaN LayerNormalization LeakyRelu Less "
      "LessOrEqual Log LogSoftmax LpNormalization LpPool LRN MatMul Max "
      "MaxPool Mean MeanVarianceNormalization Min Mish Mul Neg Not Or Pad Pow "
      "PRelu Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp "
      "ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare "
      "Relu Reshape Resize Round Selu Shrink Sigmoid Sign Sin Sinh Slice "
      "Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan "
      "Tanh ThresholdedRelu Tile Transpose Unsqueeze Upsample Where Xor ";
  g_autofree gchar *word = g_strconcat (" ", self->node->op_type, " ", NULL);

  return self->batch == 1 || strstr (apart, word) != NULL ||
      pt_onnx_refuse (self, error, "found an operator that may mix the %"
      G_GINT64_FORMAT " frames of the batch, expected a batch of 1",
      self->batch);
}

/* Whether the node's inputs are constants alone, the first of floats: nothing
 * above has worked it out. */
static gboolean
model_is_constant (const OnnxImport *self)
{
  const OnnxValue *first = pt_onnx_get_input (self, 0);

  for (gsize i = 0; i < self->node->n_input; i++) {
    const OnnxValue *value = pt_onnx_get_input (self, i);

    if (value != NULL && value->constant == NULL)
      return FALSE;
  }
  return first != NULL && self->batch == 1 &&
      pt_onnx_type_is_float (first->constant->data_type);
}

/* Runs the operator with its first input, a constant, as a layer: the value
 * is worked out with each frame, and what it is made of may learn. */
static gboolean
model_lift (OnnxImport *self, const OnnxOperator *operator, GError **error)
{
  const gchar *name = self->node->input[0];
  const OnnxValue constant = *pt_onnx_get_input (self, 0);
  OnnxValue lifted = {.rank = constant.rank };

  lifted.layer = pt_onnx_add_constant (self, constant.constant,
      PT_NETWORK_INPUT, &lifted.rank, error);
  if (lifted.layer == ONNX_NO_LAYER)
    return FALSE;
  g_hash_table_insert (self->values, (gpointer) name,
      g_memdup2 (&lifted, sizeof lifted));
  if (!operator->func (self, error))
    return FALSE;
  g_hash_table_insert (self->values, (gpointer) name,
      g_memdup2 (&constant, sizeof constant));
  return TRUE;
}

/* Whether the node makes integers or truth values in the model: as its first
 * input, unless the operator says otherwise. */
static gboolean
model_makes_whole (const OnnxImport *self)
{
  static const gchar *const always[] = { "And", "ArgMax", "ArgMin", "Equal",
    "Greater", "GreaterOrEqual", "IsNaN", "Less", "LessOrEqual", "Not", "Or",
    "Xor", NULL
  };
  const gchar *type = self->node->op_type;
  const gboolean second =
      g_str_equal (type, "Where") || g_str_equal (type, "CastLike");
  const OnnxValue *like = pt_onnx_get_input (self, second ? 1 : 0);

  if (g_strv_contains (always, type))
    return TRUE;
  if (g_str_equal (type, "Cast"))
    return !pt_onnx_type_is_float (pt_onnx_get_int (self, "to", 0));
  return like != NULL && (like->constant == NULL ? like->whole :
      !pt_onnx_type_is_float (like->constant->data_type));
}

static gboolean
model_run_operator (OnnxImport *self, const OnnxOperator *operator,
    GError **error)
{
  const gboolean whole = model_makes_whole (self);

  if (!operator->func (self, error))
    return FALSE;
  for (gsize i = 0; i < self->node->n_output; i++) {
    OnnxValue *value =
        g_hash_table_lookup (self->values, self->node->output[i]);

    if (value != NULL)
      value->whole = whole;
  }
  return TRUE;
}

static gboolean
model_add_node (OnnxImport *self, GError **error)
{
  const gchar *domain = self->node->domain;
  const OnnxOperator *operator;
  gboolean done;

  if (domain != NULL && *domain != '\0' && strcmp (domain, "ai.onnx") != 0)
    return pt_onnx_refuse (self, error, "found an operator of domain %.60s, "
        "expected one of ONNX itself", domain);
  if (!model_check_inputs (self, error) || !pt_onnx_fold (self, &done, error))
    return FALSE;
  if (done)
    return TRUE;
  if (g_str_equal (self->node->op_type, "If"))
    return model_add_if (self, error);
  operator = model_find_operator (self->node->op_type);
  if (operator == NULL)
    return model_refuse_operator (self, error);
  if (!pt_onnx_check_attributes (self, operator->attributes, error) ||
      !model_check_frames (self, error))
    return FALSE;
  return model_is_constant (self) ? model_lift (self, operator, error) :
      model_run_operator (self, operator, error);
}

static gboolean
model_add_graph (OnnxImport *self, const Onnx__GraphProto *graph,
    GError **error)
{
  g_autofree gboolean *needed = NULL;

  for (gsize i = 0; i < graph->n_initializer; i++) {
    const Onnx__TensorProto *tensor = graph->initializer[i];
    const OnnxValue value = {.constant = tensor,.rank = tensor->n_dims };

    if (!pt_onnx_add_value (self, tensor->name, &value, error))
      return FALSE;
  }
  if (graph == self->graph && !pt_onnx_add_input (self, error))
    return FALSE;
  needed = model_mark (self, graph);
  for (gsize i = 0; i < graph->n_node; i++) {
    if (!needed[i])
      continue;
    self->node = graph->node[i];
    self->number = i;
    if (!model_add_node (self, error))
      return FALSE;
    self->n_done++;
  }
  return TRUE;
}

static gboolean
model_build (OnnxImport *self, GError **error)
{
  g_autoptr (GPtrArray) outputs = NULL;

  if (!model_check_texts (self, self->graph, error) ||
      (outputs = pt_onnx_find_outputs (self, error)) == NULL ||
      !model_add_given (self, error))
    return FALSE;
  for (guint i = 0; i < outputs->len; i++)
    model_count (self, outputs->pdata[i], 1);
  return model_add_graph (self, self->graph, error) &&
      pt_onnx_finish (self, outputs, error);
}

/* -- a file -- */

/* One reading of the graph, into a network with the settings of @given. */
static PtNetwork *
model_try (OnnxImport *self, const PtSettings *given, GError **error)
{
  g_autoptr (PtNetwork) network = pt_network_new_empty (self->path);
  gboolean done;

  pt_settings_clear (&network->settings);
  pt_settings_copy (given, &network->settings);
  self->network = network;
  self->values = g_hash_table_new_full (g_str_hash, g_str_equal, NULL, g_free);
  self->uses = g_hash_table_new (g_str_hash, g_str_equal);
  self->names = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  self->reshaped =
      g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  self->n_done = 0;
  self->weight_bytes = 0;
  done = model_build (self, error);
  g_hash_table_unref (self->values);
  g_hash_table_unref (self->uses);
  g_hash_table_unref (self->names);
  g_hash_table_unref (self->reshaped);
  g_clear_pointer (&self->made, g_ptr_array_unref);
  return done ? g_steal_pointer (&network) : NULL;
}

/* All outputs, if none is named; if any of them cannot be had, those of floats,
 * or the first alone. */
static PtNetwork *
model_try_outputs (OnnxImport *self, const PtSettings *given, GError **error)
{
  const gboolean named = *given->output != '\0';
  const gint64 fold_left = self->fold_left;

  g_autofree gchar *left_out = NULL;

  self->asked = ONNX_ASKED_ALL;
  for (;;) {
    GError *reason = NULL;
    PtNetwork *network = model_try (self, given, &reason);

    if (network != NULL) {
      network->left_out = g_steal_pointer (&left_out);
      return network;
    }
    if (named || !pt_onnx_ask_less (self)) {
      g_propagate_error (error, reason);
      return NULL;
    }
    g_free (left_out);
    left_out = g_strdup_printf ("%s outputs alone: %s",
        self->asked == ONNX_ASKED_FIRST ? "the first of the" : "the float",
        reason->message);
    g_error_free (reason);
    self->fold_left = fold_left;
  }
}

/* A fixed batch is many frames; if its operators say otherwise, one. Of two
 * refusals the one counts that came later in the graph. */
PtNetwork *
pt_onnx_import (OnnxImport *self, const Onnx__ModelProto *model,
    const PtSettings *given, GError **error)
{
  const gint64 fold_left = self->fold_left;
  GError *first = NULL, *second = NULL;
  PtNetwork *network;
  guint reached;

  if (!model_find_opset (self, model, error))
    return NULL;
  self->graph = model->graph;
  network = model_try_outputs (self, given, &first);
  reached = self->n_done;
  if (network == NULL && self->batch > 1) {
    self->whole = TRUE;
    self->fold_left = fold_left;
    network = model_try_outputs (self, given, &second);
    if (network == NULL && self->n_done > reached) {
      g_clear_error (&first);
      first = g_steal_pointer (&second);
    }
  }
  g_clear_error (&second);
  if (network != NULL)
    g_clear_error (&first);
  else
    g_propagate_error (error, first);
  return network;
}
