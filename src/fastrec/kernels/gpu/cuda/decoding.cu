// Sequences that a decoder writes, all steps in one launch: by beam search, where a block takes a source, or drawn,
// where it takes up to ROWS sources.  The rows of a step, beams or sources, are taken up to ROWS at a time; weights
// come from L2.  States are in two places, from one of which a step reads those of the rows that its rows go on from.
#include "choose.cuh"
#include "layers.cuh"
#include "philox.cuh"
#include "softmax.cuh"

// What a decoder attends to: keys (n, t, d), values (n, t, h) and lengths (n) of the sources; v (d), or null where
// scores are products; the weights W_query (h, d), or null, and W_combine (2 h, h), as pack_weights of cells.cu deals
// them.
template <class P, class T = typename P::Real> struct Attended {
  const T *keys, *values;
  const i64* lengths;
  const T* v;
  const typename P::Entry *W_query, *W_combine;
  i64 t;
  int d, h;
  Shape query, combine;

  // top (ROWS, pitch) = tanh([c | h] W_combine), of h = top; source(r): of a row.  scores (ROWS, t); queries (ROWS, d)
  // and joined (ROWS, combine.pitch), which is 0 behind 2 h, are memory of the block, and sums that of products.
  template <int ROWS, class Source>
  __device__ __forceinline__ void attend(int rows, Source source, T* top, int pitch, T* scores, T* queries, T* joined,
                                         T* sums) const {
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    if (W_query) {
      Weights<P, ROWS, 0> weights(query, W_query, 1, nullptr, false);
      weights.multiply(top, sums, 0);
      __syncthreads();
      each_element(rows, d, [&](int r, int j) { queries[r * d + j] = weights.product(sums, r, j); });
      __syncthreads();
    }
    for (int r = 0; r < rows; r++) {
      i64 n = lengths[source(r)];
      const T *own = W_query ? queries + r * d : top + r * pitch, *key = keys + source(r) * t * d;
      for (i64 j = warp; j < n; j += WARPS) {
        T sum = 0;
        for (int i = lane; i < d; i += WARP)
          sum += v ? v[i] * hyperbolic(own[i] + key[j * d + i]) : own[i] * key[j * d + i];
        sum = warp_sum(sum);
        if (lane == 0) scores[r * t + j] = sum;
      }
    }
    __syncthreads();
    for (int r = warp; r < rows; r += WARPS) warp_softmax(scores + r * t, lengths[source(r)]);
    __syncthreads();
    each_element(rows, h, [&](int r, int i) {
      i64 n = lengths[source(r)];
      const T* value = values + source(r) * t * h + i;
      T sum = 0;
      for (i64 j = 0; j < n; j++) sum += scores[r * t + j] * value[j * h];
      joined[r * combine.pitch + i] = sum;
      joined[r * combine.pitch + h + i] = top[r * pitch + i];
    });
    __syncthreads();
    Weights<P, ROWS, 0> weights(combine, W_combine, 1, nullptr, false);
    weights.multiply(joined, sums, 0);
    __syncthreads();
    each_element(rows, h, [&](int r, int j) { top[r * pitch + j] = hyperbolic(weights.product(sums, r, j)); });
    __syncthreads();
  }
};

// A candidate: its sum of log probabilities, and its beam and symbol in the upper and the lower half of `place`, which
// is negative for none.
struct Candidate {
  double sum;
  i64 place;

  // Whether it is taken before another one.
  __device__ __forceinline__ bool before(const Candidate& other) const {
    return place >= 0 && (other.place < 0 || sum > other.sum || (sum == other.sum && place < other.place));
  }
  __device__ __forceinline__ int beam() const { return int(place >> 32); }
  __device__ __forceinline__ int symbol() const { return int(place); }
};

// The first of the candidates of all threads, in each of them.  partial: one of each warp, free at the call.
__device__ __forceinline__ Candidate first_of_block(Candidate own, Candidate* partial) {
  for (int distance = WARP / 2; distance; distance /= 2) {
    Candidate other = {__shfl_xor_sync(ALL, own.sum, distance), __shfl_xor_sync(ALL, own.place, distance)};
    if (other.before(own)) own = other;
  }
  if (threadIdx.x % WARP == 0) partial[threadIdx.x / WARP] = own;
  __syncthreads();
  for (int warp = 0; warp < WARPS; warp++)
    if (partial[warp].before(own)) own = partial[warp];
  __syncthreads();
  return own;
}

// The search for a source: the arguments of beam_search of kernels/reference/decoding.py, and sums (beams) of the beams
// that go on, bases (beams), those sums less what makes logits logarithms of probabilities, history (steps, beams, 2),
// the beam and symbol of each beam, and ends (n_best, 2), length and last beam of each hypothesis.
struct Search {
  const double* penalties;
  double *sums, *bases, *scores;
  int *history, *ends, *symbols;
  i64* lengths;
  i64 steps, beams, n_best;

  // Takes a hypothesis into the best ones, behind those with its score, by one thread.
  __device__ void finish(double score, int length, int beam) const {
    i64 place = n_best;
    for (; place && score > scores[place - 1]; place--)
      if (place < n_best) {
        scores[place] = scores[place - 1];
        ends[2 * place] = ends[2 * place - 2];
        ends[2 * place + 1] = ends[2 * place - 1];
      }
    if (place == n_best) return;
    scores[place] = score;
    ends[2 * place] = length;
    ends[2 * place + 1] = beam;
  }

  // Extends `live` beams by their logits (live, o), as step number `now`; how many go on, the same for each thread.
  // partial: as first_of_block takes it; over: a value of shared memory.
  template <class T>
  __device__ int extend(int now, int live, const T* logits, int o, Candidate* partial, int* over) const {
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    for (int r = warp; r < live; r += WARPS) {
      const T* y = logits + i64(r) * o;
      T top = y[0], total = 0;
      bool finite = true;
      for (int j = lane; j < o; j += WARP) {
        finite &= bool(isfinite(y[j]));
        top = y[j] > top ? y[j] : top;
      }
      finite = __all_sync(ALL, finite);
      top = warp_largest(top);
      for (int j = lane; j < o; j += WARP) total += exponential(y[j] - top);
      total = warp_sum(total);
      double all = double(top) + log(double(total));
      if (lane == 0) bases[r] = finite ? (now ? sums[r] : 0) - all : __longlong_as_double(-1);  // NaN
    }
    __syncthreads();
    bool fault = false;
    for (int r = 0; r < live; r++) fault |= bool(isnan(bases[r]));
    if (fault) {
      for (i64 rank = threadIdx.x; rank < n_best; rank += CELL_THREADS) {
        lengths[rank] = -1;
        ends[2 * rank] = 0;
      }
      return 0;
    }
    int held = 0;
    Candidate last = {0, -1};
    for (; held < beams; held++) {
      Candidate next = {0, -1};
      for (int r = 0; r < live; r++) {
        const T* y = logits + i64(r) * o;
        for (int j = threadIdx.x; j < o - 1; j += CELL_THREADS) {
          Candidate other = {bases[r] + double(y[j]), i64(r) << 32 | j};
          if ((!held || last.before(other)) && other.before(next)) next = other;
        }
      }
      next = first_of_block(next, partial);
      if (next.place < 0) break;
      last = next;
      if (threadIdx.x == 0) {
        sums[held] = next.sum;
        history[(now * beams + held) * 2] = next.beam();
        history[(now * beams + held) * 2 + 1] = next.symbol();
      }
    }
    if (threadIdx.x == 0) {
      for (int r = 0; r < live; r++) {
        Candidate end = {bases[r] + double(logits[i64(r) * o + o - 1]), i64(r) << 32 | (o - 1)};
        if (held < beams || end.before(last)) finish(end.sum / penalties[now], now, r);
      }
      if (now + 1 == steps)
        for (int r = 0; r < held; r++) finish(sums[r] / penalties[now], now + 1, r);
      *over = now + 1 == steps || !held || sums[0] / penalties[steps - 1] <= scores[n_best - 1];
    }
    __syncthreads();
    bool ended = *over;
    __syncthreads();
    return ended ? 0 : held;
  }

  // Writes the symbols and lengths of the hypotheses.
  __device__ void trace() const {
    for (i64 rank = threadIdx.x; rank < n_best; rank += CELL_THREADS) {
      int length = ends[2 * rank], beam = ends[2 * rank + 1];
      if (lengths[rank] == 0) lengths[rank] = length;
      for (i64 now = length - 1; now >= 0; now--) {
        const int* pick = history + (now * beams + beam) * 2;
        symbols[rank * steps + now] = pick[1];
        beam = pick[0];
      }
    }
  }
};

// state (layers, n, s); W_in, bias, of_units and packed as in layers.cuh, with W_out behind, b_out (o); what is
// attended to as above, W_combine null if nothing is.  feeds_back: whether the outputs are the state of the next step.
// For n sources a search as above, of `beams` at most; or, if drawn (n, steps) is not null, draws as in generation.cu.
// states (2, layers, rows, s), logits (rows, o) and out_sums, for the product of each block, scores (ROWS, t) of each
// block; scratch: `bytes` of each block where shared memory is too small, else null.
template <class P, template <class> class Cell, int ROWS, class T = typename P::Real>
__global__ void __launch_bounds__(CELL_THREADS, 1)
    decode(const T* state, const T* W_in, const T* bias, const T* of_units, const typename P::Entry* packed,
           const T* b_out, const T* keys, const T* values, const i64* lengths, const T* v,
           const typename P::Entry* W_query, const typename P::Entry* W_combine, i64 n, i64 steps, i64 t,
           i64 query_width, i64 width, i64 outs, i64 layer_count, i64 feeds_back, i64 activation, i64 recurrent_parts,
           i64 out_parts, i64 query_parts, i64 combine_parts, i64 beams, i64 n_best, const double* penalties, double* sums,
           double* bases, int* history, int* ends, int* symbols, i64* symbol_lengths, double* symbol_scores,
           double inverse, i64 top_k, u64 top_p, u64 key, int* drawn, T* states, T* logits, T* out_sums, T* scores,
           unsigned char* scratch, i64 bytes) {
  using Operand = typename P::Operand;
  __shared__ int token[ROWS], over;
  __shared__ i64 parent[ROWS];
  __shared__ u64 partial[WARP];
  __shared__ Candidate candidates[WARPS];
  __shared__ Search search;  // here, as registers are few
  __shared__ Attended<P> attended;
  int h = int(width), o = int(outs), layers = int(layer_count), d = int(query_width), fed = feeds_back ? o : h;
  i64 s = feeds_back ? o : Cell<T>::STATES * h, block = blockIdx.x, rows_of_all = drawn ? n : n * beams;
  i64 first = block * (drawn ? ROWS : beams);
  int live = drawn ? int(min(i64(ROWS), n - first)) : 1;

  Shape out = P::shape(whole_pieces<Operand>(h), o, int(out_parts));
  Shape query = out, combine = out;
  if (W_query) query = P::shape(whole_pieces<Operand>(h), d, int(query_parts));
  if (W_combine) combine = P::shape(whole_pieces<Operand>(2 * h), h, int(combine_parts));
  int pitch = max(out.pitch, query.pitch), joined_pitch = W_combine ? combine.pitch : 0;
  out.pitch = query.pitch = pitch;
  if (threadIdx.x == 0) {
    attended = {keys, values, lengths, v, W_query, W_combine, t, d, h, query, combine};
    search = {penalties,
              sums + block * beams,
              bases + block * beams,
              symbol_scores + block * n_best,
              history + block * steps * beams * 2,
              ends + block * n_best * 2,
              symbols + block * n_best * steps,
              symbol_lengths + block * n_best,
              steps,
              beams,
              n_best};
  }
  unsigned char* memory = own_memory(scratch, bytes);
  Operand *joined = reinterpret_cast<Operand*>(memory), *queries = joined + ROWS * joined_pitch;
  for (Operand* place = joined + threadIdx.x; place < queries; place += CELL_THREADS) *place = 0;
  Layers<P, Cell, ROWS> network(reinterpret_cast<unsigned char*>(queries + (W_query ? ROWS * whole_pieces<T>(d) : 0)),
                                W_in, bias, of_units, packed, 1, 0, o, 0, h, fed, layers, feeds_back, activation, 1,
                                int(recurrent_parts), pitch);
  auto outward = network.weights_of(out, network.after_layers());
  out_sums += block * out.parts * ROWS * out.width;
  scores += block * ROWS * t;
  for (i64 now = 0; now < steps; now++) {
    for (int begin = 0; begin < live; begin += ROWS) {
      int rows = min(ROWS, live - begin);
      auto source = [&](int r) { return drawn ? first + r : block; };
      __syncthreads();
      if (threadIdx.x < rows) {
        i64 row = first + begin + threadIdx.x;
        const int* pick = search.history + ((now - 1) * beams + begin + threadIdx.x) * 2;
        token[threadIdx.x] = !now ? o - 1 : drawn ? max(drawn[row * steps + now - 1], 0) : pick[1];
        parent[threadIdx.x] = drawn ? row : now ? first + pick[0] : block;
      }
      __syncthreads();
      auto from = [&](int layer, int r) {
        return now ? states + ((now % 2 * layers + layer) * rows_of_all + parent[r]) * s
                   : state + (layer * n + parent[r]) * s;
      };
      auto to = [&](int layer, int r) {
        return states + (((now + 1) % 2 * layers + layer) * rows_of_all + first + begin + r) * s;
      };
      for (int layer = 0; layer < layers; layer++)
        each_element(rows, fed, [&](int r, int j) {
          network.before[(layer * ROWS + r) * network.recurrent.pitch + j] = P::operand(from(layer, r)[j]);
        });
      __syncthreads();
      network.step(rows, token, from, to, [](int, int, T) {});
      if (W_combine)
        attended.template attend<ROWS>(rows, source, network.top, pitch, scores, queries, joined, network.sums);
      outward.multiply(network.top, out_sums, 0);
      __syncthreads();
      each_element(rows, o, [&](int r, int j) {
        T y = outward.product(out_sums, r, j) + b_out[j];
        logits[(first + begin + r) * o + j] = y;
        if (feeds_back) to(0, r)[j] = y;
      });
    }
    __syncthreads();
    const T* own = logits + first * o;
    if (!drawn) {
      live = search.extend(int(now), live, own, o, candidates, &over);
      if (!live) break;
      continue;
    }
    if (threadIdx.x == 0) over = 1;
    __syncthreads();
    // A warp draws a symbol.
    Group group = {false, partial};
    for (int r = group.number(); r < live; r += group.count()) {
      i64 row = first + r;
      int before = now ? drawn[row * steps + now - 1] : 0;
      if (now && (before < 0 || before == o - 1)) continue;
      u64 random = draw(key, now, row, 0, tag(SAMPLE, 0));
      int chosen = choose(group, own + i64(r) * o, o, T(inverse), top_k, top_p, random);
      bool ended = chosen < 0 || chosen == o - 1;
      i64 end = ended ? steps : now + 1;
      for (i64 j = now + group.lane(); j < end; j += group.size()) drawn[row * steps + j] = chosen;
      if (!ended && group.lane() == 0) atomicAnd(&over, 0);
    }
    __syncthreads();
    if (over) return;
  }
  __syncthreads();
  if (!drawn) search.trace();
}
