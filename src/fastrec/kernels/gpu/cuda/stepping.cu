// Networks that take a step at a time, or go on by reading their own outputs: all steps in one launch.  A block takes
// up to ROWS rows of a network; weights come from L2.
#include "layers.cuh"

// outputs (k, b, n, o) and last (layers, k, b, s) from state (layers, k, b, s) and the first inputs, x (m, b, i) or,
// with i = 0, tokens (m, b) from 0 to `words` - 1; each output is the next input.  W_in (k, words, gates h) of the
// first layer, which only tokens read; bias (layers, k, gates h), of_units (layers, k, OWN h), b_out (k, o),
// null where the hidden units are the outputs.  packed: of all networks the weights as pack_weights of cells.cu deals
// them to one block, W_in unless tokens are read, W_rec of all layers, W_in of the second and later ones, W_out.
// feeds_back: whether the outputs are the state of the next step, as in a Jordan network.  fault: set to 1 where an
// input is not finite or no token, or an output is not finite.
template <class P, template <class> class Cell, int ROWS, class T = typename P::Real>
__global__ void __launch_bounds__(CELL_THREADS, 1)
    take_steps(const T* x, const i64* tokens, const T* state, const T* W_in, const T* bias, const T* of_units,
               const typename P::Entry* packed, const T* b_out, i64 k, i64 b, i64 n, i64 m, i64 inputs, i64 words,
               i64 width, i64 outs, i64 layer_count, i64 feeds_back, i64 activation, i64 in_parts, i64 recurrent_parts,
               i64 out_parts, T* outputs, T* last, int* fault) {
  using Operand = typename P::Operand;
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ int token[ROWS];
  int i = int(inputs), h = int(width), o = int(outs), layers = int(layer_count), fed = feeds_back ? o : h;
  i64 s = feeds_back ? o : Cell<T>::STATES * h, teams = (b + ROWS - 1) / ROWS, net = blockIdx.x / teams,
      first = blockIdx.x % teams * ROWS, given = min(net, m - 1) * b + first;
  int rows = int(min(i64(ROWS), b - first));

  Shape out = P::shape(whole_pieces<Operand>(h), o, int(out_parts));
  Layers<P, Cell, ROWS> network(shared, W_in, bias, of_units, packed, k, net, words, i, h, fed, layers, feeds_back,
                                activation, int(in_parts), int(recurrent_parts), out.pitch);
  // Places in state and last, and outputs, which are read in the next step.
  auto state_of = [&](int layer, int r) { return ((layer * k + net) * b + first + r) * s; };
  auto hand_out = [&](i64 step, int r, int j, T y) {
    outputs[((net * b + first + r) * n + step) * o + j] = y;
    if (!isfinite(y)) atomicOr(fault, 1);
    if (feeds_back) {
      last[state_of(0, r) + j] = y;
      network.before[r * network.recurrent.pitch + j] = P::operand(y);
    }
    if (step + 1 < n) network.read[r * network.in.pitch + j] = P::operand(y);
  };
  __syncthreads();
  each_element(rows, i, [&](int r, int j) {
    T value = x[(given + r) * i + j];
    if (!isfinite(value)) atomicOr(fault, 1);
    network.read[r * network.in.pitch + j] = P::operand(value);
  });
  if (i == 0 && threadIdx.x < rows) {
    i64 chosen = tokens[given + threadIdx.x];
    bool known = chosen >= 0 && chosen < words;
    if (!known) atomicOr(fault, 1);
    token[threadIdx.x] = known ? int(chosen) : 0;
  }
  for (int layer = 0; layer < layers; layer++)
    each_element(rows, int(s), [&](int r, int j) {
      T value = state[state_of(layer, r) + j];
      last[state_of(layer, r) + j] = value;
      if (j < fed) network.before[(layer * ROWS + r) * network.recurrent.pitch + j] = P::operand(value);
    });
  __syncthreads();
  auto kept = [&](int layer, int r) { return last + state_of(layer, r); };
  for (i64 step = 0; step < n; step++) {
    network.step(rows, token, kept, kept, [&](int r, int j, T value) {
      if (!b_out) hand_out(step, r, j, value);
    });
    if (!b_out) continue;
    auto outward = network.weights_of(out, network.after_layers());
    outward.multiply(network.top, network.sums, 0);
    __syncthreads();
    each_element(rows, o,
                 [&](int r, int j) { hand_out(step, r, j, outward.product(network.sums, r, j) + b_out[net * o + j]); });
    __syncthreads();
  }
}
