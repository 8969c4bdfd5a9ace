// Tokens drawn by a recurrent network, each its next input: a whole text, of all rows, in one launch.
//
// A team of blocks takes up to ROWS rows, as in recurrent.cuh; each member owns a run of the units of every layer and a
// run of the logits.  In a step members hand on the hidden units of one layer after the other, then the logits, and
// every member draws the tokens of all rows by itself: all have the same logits, and sums of whole numbers no order.
// The product with a layer's own units goes on while those of the layer below are on their way.
#include "cells.cuh"
#include "choose.cuh"
#include "philox.cuh"

// drawn (b, n) after prompts, tokens (b, t) with lengths (b); state and last (layers, b, s); W_in (i, gates h) of the
// first layer, bias (layers, gates h), of_units (layers, OWN h), b_out (i).  feeds_back: whether the outputs
// are the state of the next step, as in a Jordan network.  packed: for each member its weights, as
// pack_weights of cells.cu deals them, W_rec of all layers, W_in of the second and later ones, W_out; the first
// `resident` of these stay in shared memory.  inverse: 1 / temperature.  scratch: room for the logits of each block
// where shared memory has none, or null.
template <class P, template <class> class Cell, int ROWS, class T = typename P::Real>
__global__ void __launch_bounds__(CELL_THREADS, 1)
    generate(const int* tokens, const i64* lengths, const T* state, const T* W_in, const T* bias, const T* of_units,
             const typename P::Entry* packed, const T* b_out, i64 b, i64 t, i64 n, i64 width, i64 outs, i64 layer_count,
             i64 feeds_back, i64 activation, i64 team_members, i64 first_team, i64 parts, i64 out_parts, i64 resident,
             double inverse, i64 top_k, u64 top_p, i64 stop, u64 key, i64 first, uint4* posted, T* scratch, int* drawn,
             T* last) {
  using Operand = typename P::Operand;
  using Entry = typename P::Entry;
  using C = Cell<T>;
  constexpr int gates = C::GATES, states = C::STATES;
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ int length[ROWS], end[ROWS], token[ROWS];  // end: the steps that a row takes
  __shared__ u64 partial[WARP], random[ROWS];
  int h = int(width), i = int(outs), layers = int(layer_count), members = int(team_members);
  Member own(b, h, members, int(first_team), ROWS, lengths, length);
  int rank = int(blockIdx.x) % members, share = (h + members - 1) / members, run = whole_pieces<Operand>(share);
  int out_share = (i + members - 1) / members, out_run = whole_pieces<Operand>(out_share);
  int out_first = min(i, rank * out_share), out_units = min(out_share, i - out_first);
  Shape step = P::shape(members * (feeds_back ? out_run : run), gates * share, int(parts));
  Shape out = P::shape(members * run, out_share, int(out_parts));
  // Hidden units come to products of both shapes, whose pitch is the same, but those of a Jordan network to `out`
  // alone.
  int pitch = out.pitch, fed_pitch = feeds_back ? step.pitch : 0, wide = members * out_share;
  int state_size = feeds_back ? out_share : share;

  unsigned char* free = shared;
  auto take = [&](int bytes) {
    unsigned char* place = free;
    free += (bytes + 15) / 16 * 16;
    return place;
  };
  Operand* in = reinterpret_cast<Operand*>(take(layers * ROWS * pitch * sizeof(Operand)));
  Operand* fed = reinterpret_cast<Operand*>(take(ROWS * fed_pitch * sizeof(Operand)));
  Operand* made = reinterpret_cast<Operand*>(take(ROWS * run * sizeof(Operand)));
  T* made_out = reinterpret_cast<T*>(take(ROWS * out_share * sizeof(T)));
  Operand* scaled = reinterpret_cast<Operand*>(take(C::LATE ? ROWS * pitch * sizeof(Operand) : 0));  // for late gates
  // Stays 0 for units that are not there.
  for (u32* word = reinterpret_cast<u32*>(shared) + threadIdx.x; word < reinterpret_cast<u32*>(free);
       word += CELL_THREADS)
    *word = 0;
  int entries = step.depth * step.jobs, out_entries = out.depth * out.jobs, last_matrix = 2 * layers - 1;
  Entry* local = reinterpret_cast<Entry*>(free);
  take((int(resident) * entries + (resident > last_matrix ? out_entries - entries : 0)) * sizeof(Entry));
  int sums_size = int(parts) * ROWS * step.width;
  T* sums = reinterpret_cast<T*>(
      take(((1 + C::LATE) * sums_size + max(layers > 1 ? sums_size : 0, int(out_parts) * ROWS * out.width)) * sizeof(T)));
  T *late_sums = sums + sums_size, *more_sums = sums + (1 + C::LATE) * sums_size;
  T* states_now = reinterpret_cast<T*>(take(layers * states * ROWS * state_size * sizeof(T)));
  T* logits = scratch ? scratch + i64(blockIdx.x) * ROWS * wide : reinterpret_cast<T*>(free);

  auto packed_of = [&](int matrix) {
    return packed + (i64(matrix) * members * entries + i64(rank) * (matrix < last_matrix ? entries : out_entries));
  };
  Weights<P, ROWS, 0> step_weights(step, nullptr, 1, nullptr, false), out_weights(out, nullptr, 1, nullptr, false);
  auto weights_of = [&](int matrix) {
    Weights<P, ROWS, 0> weights = step_weights;
    if (matrix == last_matrix) weights = out_weights;
    weights.rest = matrix < resident ? local + matrix * entries : packed_of(matrix);
    return weights;
  };
  for (int matrix = 0; matrix < resident; matrix++)
    Weights<P, ROWS, 0>(matrix < last_matrix ? step : out, packed_of(matrix), 1, local + matrix * entries, true);
  // Calls use(place in states_now, place in state and last) for the state of own units, or own logits.
  int state_units = feeds_back ? out_units : own.units, state_first = feeds_back ? out_first : own.first;
  int s = feeds_back ? i : h;
  auto each_state = [&](auto use) {
    for (int part = 0; part < layers * states; part++)
      each_element(own.rows, state_units, [&](int r, int j) {
        i64 row = i64(part / states) * b + own.row + r;
        use(part * ROWS * state_size + r * state_units + j, (row * states + part % states) * s + state_first + j);
      });
  };
  // Outputs of a row are fed back in runs of the members.
  auto feed = [&](int member, int r, int j, T y) { fed[r * fed_pitch + member * out_run + j] = P::operand(y); };
  each_state([&](int e, i64 place) { states_now[e] = state[place]; });
  __syncthreads();
  for (int layer = 0; layer < layers; layer++)
    each_element(own.rows, s, [&](int r, int j) {
      T value = state[(i64(layer) * b + own.row + r) * states * s + j];
      if (feeds_back)
        feed(j / out_share, r, j % out_share, value);
      else
        in[(layer * ROWS + r) * pitch + j / share * run + j % share] = P::operand(value);
    });
  if (threadIdx.x < own.rows) end[threadIdx.x] = length[threadIdx.x] + int(n) - 1;

  // Messages have two places each: of hidden units of every layer, of logits, and of what late gates read.
  int hidden_words = run * int(sizeof(Operand)) / 4, out_words = out_share * int(sizeof(T)) / 4;
  using TeamMail = Mail<CELL_THREADS, ROWS>;
  i64 hidden_size = TeamMail::size(hidden_words, members), out_size = TeamMail::size(out_words, members);
  posted += i64(blockIdx.x) / members * ((1 + C::LATE) * layers * hidden_size + out_size);
  TeamMail hidden_mail(posted, hidden_words, members), out_mail(posted + layers * hidden_size, out_words, members);
  auto mail_of = [&](int layer) {
    TeamMail mail = hidden_mail;
    mail.pieces += layer * hidden_size;
    return mail;
  };
  int row_words = pitch * int(sizeof(Operand)) / 4, logit_words = wide * int(sizeof(T)) / 4;
  u32 told = 0;  // messages of logits
  // A warp draws a token, or all do one after the other where there are few rows and many logits; 8: its barriers.
  Group group = {own.rows * ((i - 1) / CELL_THREADS + 8) < (own.rows + WARPS - 1) / WARPS * ((i - 1) / WARP), partial};
  __syncthreads();
  for (int now = 0;; now++) {
    bool going = false, drawing = feeds_back;
    for (int r = 0; r < own.rows; r++) {
      going |= now < end[r];
      drawing |= now < end[r] && now + 1 >= length[r];
    }
    if (!going) break;
    if (threadIdx.x < own.rows && now < length[threadIdx.x])
      token[threadIdx.x] = tokens[(own.row + threadIdx.x) * t + now];
    told += drawing;
    // What the draws need is at hand before the logits are.
    if (threadIdx.x < own.rows)
      random[threadIdx.x] = draw(key, first + now + 1 - length[threadIdx.x], own.row + threadIdx.x, 0, tag(SAMPLE, 0));
    for (int layer = 0;; layer++) {
      bool hidden = layer < layers;
      Operand* below = in + (layer - 1) * ROWS * pitch;
      auto recurrent = weights_of(layer), forward = weights_of(layers + layer - 1);
      if (hidden) recurrent.multiply(feeds_back ? fed : below + ROWS * pitch, sums, 0);
      if (layer) {
        if (members > 1) {
          if (layer <= layers)
            mail_of(layer - 1).receive(now + 1, 0, members, own.rows, reinterpret_cast<u32*>(below), row_words);
          else
            out_mail.receive(told, 0, members, own.rows, reinterpret_cast<u32*>(logits), logit_words);
        }
        __syncthreads();
        if (layer > layers || (layer == layers && !drawing)) break;
        forward.multiply(below, more_sums, 0);
      }
      __syncthreads();
      auto add_up = [&](int r, int j, bool late, T(&given)[gates], T(&rec)[gates]) {
#pragma unroll
        for (int gate = 0; gate < gates; gate++) {
          int column = gate * h + own.first + j;
          T into = layer ? forward.product(more_sums, r, gate * share + j) : W_in[i64(token[r]) * gates * h + column];
          given[gate] = into + bias[layer * gates * h + column];
          if (C::LATE && gate == gates - 1)
            rec[gate] = late ? recurrent.product(late_sums, r, gate * share + j) : T(0);
          else
            rec[gate] = recurrent.product(sums, r, gate * share + j);
        }
      };
      T* states_here = states_now + layer * states * ROWS * state_size;
      if constexpr (C::LATE) {
        if (hidden) {
          each_element(own.rows, own.units, [&](int r, int j) {
            T given[gates], rec[gates], keep[C::KEPT];
            add_up(r, j, false, given, rec);
            made[r * run + j] = P::operand(C::reset(given, rec, states_here[r * own.units + j], keep));
          });
          __syncthreads();
          if (members == 1)
            each_element(own.rows, run, [&](int r, int j) { scaled[r * pitch + j] = made[r * run + j]; });
          else {
            TeamMail mail = mail_of(layer);
            mail.pieces += layers * hidden_size + out_size;
            mail.send(now + 1, rank, own.rows, reinterpret_cast<const u32*>(made), hidden_words);
            mail.receive(now + 1, 0, members, own.rows, reinterpret_cast<u32*>(scaled), row_words);
          }
          __syncthreads();
          recurrent.multiply(scaled, late_sums, 0);  // of all gates: the others are not used
          __syncthreads();
        }
      }
      if (hidden)
        each_element(own.rows, own.units, [&](int r, int j) {
          T given[gates], rec[gates], keep[C::KEPT];
          add_up(r, j, true, given, rec);
          T* kept = states_here + r * own.units + j;
          T* cell = kept + ROWS * state_size;
          T before = C::BEFORE ? *kept : T(0), c = states == 2 ? *cell : T(0);
          OfUnit<C::OWN, T> of_unit(of_units + layer * C::OWN * h + own.first + j, h);
          T value = C::forward(given, rec, before, of_unit.values, c, keep, activation);
          if (!feeds_back && now < end[r]) *kept = value;
          if (states == 2 && now < end[r]) *cell = c;
          made[r * run + j] = P::operand(value);
        });
      else
        each_element(own.rows, out_units, [&](int r, int j) {
          T value = forward.product(more_sums, r, j) + b_out[out_first + j];
          if (feeds_back && now < end[r]) states_now[r * out_units + j] = value;
          made_out[r * out_share + j] = value;
        });
      __syncthreads();
      if (members == 1) {
        // Rows of `made` and of what reads it lie apart by different pitches.
        if (hidden)
          each_element(own.rows, run, [&](int r, int j) { in[(layer * ROWS + r) * pitch + j] = made[r * run + j]; });
        else
          each_element(own.rows, i, [&](int r, int j) { logits[r * wide + j] = made_out[r * wide + j]; });
      } else if (hidden)
        mail_of(layer).send(now + 1, rank, own.rows, reinterpret_cast<const u32*>(made), hidden_words);
      else
        out_mail.send(told, rank, own.rows, reinterpret_cast<const u32*>(made_out), out_words);
    }
    if (!drawing) continue;
    if (feeds_back)
      for (int member = 0; member < members; member++)
        each_element(own.rows, min(out_share, i - member * out_share), [&](int r, int j) {
          feed(member, r, j, logits[r * wide + member * out_share + j]);
        });
    for (int r = group.number(); r < own.rows; r += group.count()) {
      i64 row = own.row + r, number = now + 1 - length[r];
      if (now >= end[r] || number < 0) continue;
      int chosen = choose(group, logits + r * wide, i, T(inverse), top_k, top_p, random[r]);
      bool over = chosen < 0 || chosen == stop;
      if (group.lane() == 0) {
        token[r] = max(chosen, 0);
        if (over) end[r] = now + 1;
      }
      if (rank == 0)
        for (i64 j = number + group.lane(); j < (over ? n : number + 1); j += group.size()) drawn[row * n + j] = chosen;
    }
    __syncthreads();
  }
  each_state([&](int e, i64 place) { last[place] = states_now[e]; });
}
