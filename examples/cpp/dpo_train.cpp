// Trains a small byte-level language model on human preferences, as ../train_dpo.py does: supervised on the chosen
// responses, then by Direct Preference Optimization against a frozen copy of itself.
//
//   python examples/export_start.py --output start.json
//   c++ -std=c++20 -O3 -march=native dpo_train.cpp $(pkg-config --cflags --libs swiftdpo) -o dpo_train
//   ./dpo_train data/pairs_dev.jsonl start.json
//
// The start is what the Python demo draws at random: initial parameters, the split, the order of batches. From there on
// everything is computed here: what the model sees, its forward and backward pass, the optimizer, the evaluation. The
// library stands between the two passes: logits to log-probabilities, the loss, and the gradient back to the logits.
// features.py and byte_lm.py say what the model is and why.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include <nlohmann/json.hpp>
#include <swiftdpo.hpp>

namespace {

using Json = nlohmann::json;
using Floats = std::vector<float>;
using Doubles = std::vector<double>;
using Indices = std::vector<std::size_t>;

// ---------------------------------------------------------------------------------------------- What the model sees

constexpr int end_token = 256, vocabulary = 257, nothing = 256;
constexpr int lags = 6, ngram = 5, key_bytes = 4, prompt_bytes = 1024, buckets_log2 = 14;
constexpr std::array<int, lags + 1> byte_features = {257, 257, 257, 257, 257, 257, 257};
constexpr std::array<int, 8> control_features = {64, 16, 16, 16, 257, 32, 2, 2};

template <std::size_t n> constexpr std::size_t rows_of(const std::array<int, n> &sizes) {
  return static_cast<std::size_t>(std::accumulate(sizes.begin(), sizes.end(), 0));
}

/// One position, which predicts one token: rows of the tables of embeddings, and the tokens that the controls raise.
struct Position {
  std::array<int, byte_features.size()> bytes;
  int ngram;
  std::array<int, control_features.size()> controls;
  std::array<int, 3> targets; // END, the copying byte, the repeating one; -1: there is none
  std::int64_t label;
};

/// Each feature has as many rows of one table as it has values.
template <std::size_t n> std::array<int, n> rows(std::array<int, n> values, const std::array<int, n> &sizes) {
  for (int first = 0; auto &value : values) {
    value += first;
    first += sizes[static_cast<std::size_t>(&value - values.data())];
  }
  return values;
}

/// Reads a response byte by byte, and keeps what the candidates and the summary need.
class Memory {
public:
  explicit Memory(const std::string &prompt) {
    for (const char byte : prompt) {
      if (key_.complete())
        in_prompt_[key_.value] = static_cast<unsigned char>(byte);
      key_.read(byte);
    }
    key_ = {};
    const auto characters =
        std::count_if(prompt.begin(), prompt.end(), [](char byte) { return (byte & 0xC0) != 0x80; });
    prompt_length_ = static_cast<int>(std::bit_width(prompt.size()));
    newline_ = prompt.find('\n') != std::string::npos;
    foreign_ = static_cast<double>(characters) < 0.7 * static_cast<double>(prompt.size());
  }

  void read(char byte) {
    if (key_.complete())
      in_response_[key_.value] = static_cast<unsigned char>(byte);
    key_.read(byte);
    const bool known = key_.complete() && in_response_.contains(key_.value);
    repeated_ += known;
    if (key_.complete() && in_prompt_.contains(key_.value)) {
      copied_++;
      covered_ += !known;
    }
  }

  /// The position behind the `length` bytes read, of which `last` are the latest, the very last one first.
  Position position(std::size_t length, const std::array<int, lags> &last) const {
    const int copy = candidate(in_prompt_), repeat = candidate(in_response_);
    const double keys = std::max(static_cast<double>(length) - key_bytes + 1, 1.0);
    const auto part = [&](int count) { return static_cast<int>(15 * count / keys); };
    const double covered = static_cast<double>(covered_) / static_cast<double>(in_prompt_.size() + 1);
    Position result{};
    std::copy(last.begin(), last.end(), result.bytes.begin());
    result.bytes.back() = copy;
    result.bytes = rows(result.bytes, byte_features);
    std::uint64_t code = 0;
    for (int i = 0; i < ngram; i++)
      code = (code + static_cast<std::uint64_t>(last[static_cast<std::size_t>(i)]) + 1) * 0x9E3779B97F4A7C15;
    result.ngram = static_cast<int>(code >> (64 - buckets_log2));
    const int age = static_cast<int>(std::min(4 * std::log2(static_cast<double>(length) + 1), 63.0));
    result.controls = rows({age, static_cast<int>(15 * std::sqrt(covered)), part(copied_), part(repeated_), last[0],
                            prompt_length_, newline_, foreign_},
                           control_features);
    result.targets = {end_token, copy == nothing ? -1 : copy, repeat == nothing ? -1 : repeat};
    return result;
  }

private:
  struct Key { // the last four bytes
    std::uint32_t value = 0;
    int length = 0;
    bool complete() const { return length >= key_bytes; }
    void read(char byte) {
      value = value << 8 | static_cast<unsigned char>(byte);
      length++;
    }
  };
  using Followers = std::unordered_map<std::uint32_t, int>;

  int candidate(const Followers &followers) const {
    const auto found = key_.complete() ? followers.find(key_.value) : followers.end();
    return found == followers.end() ? nothing : found->second;
  }

  Followers in_prompt_, in_response_;
  Key key_;
  int covered_ = 0, copied_ = 0, repeated_ = 0;
  int prompt_length_;
  bool newline_, foreign_;
};

std::vector<Position> positions_of(const std::string &prompt, const std::string &response) {
  Memory memory(prompt.substr(prompt.size() - std::min<std::size_t>(prompt.size(), prompt_bytes)));
  std::array<int, lags> last;
  last.fill(nothing);
  std::vector<Position> result;
  for (std::size_t i = 0; i <= response.size(); i++) {
    result.push_back(memory.position(i, last));
    result.back().label = i == response.size() ? end_token : static_cast<unsigned char>(response[i]);
    if (i == response.size())
      break;
    memory.read(response[i]);
    std::rotate(last.begin(), last.end() - 1, last.end());
    last[0] = static_cast<unsigned char>(response[i]);
  }
  return result;
}

/// Pair i has the chosen response 2 i and the rejected one 2 i + 1.
struct Preferences {
  std::vector<std::vector<Position>> responses;
  Doubles p_chosen; // of the votes; a tie is half a vote

  explicit Preferences(const char *path) {
    std::ifstream lines(path);
    for (std::string line; std::getline(lines, line);) {
      const auto pair = Json::parse(line);
      for (const char *side : {"chosen", "rejected"})
        responses.push_back(positions_of(pair.at("prompt"), pair.at(side)));
      p_chosen.push_back(pair.at("p_chosen"));
    }
    if (responses.empty())
      throw std::runtime_error(std::string("no pairs in ") + path);
  }
};

// -------------------------------------------------------------------------------------------------------- The model

constexpr std::size_t hidden = 64, control_hidden = 16, controls = 3;

/// The tables and matrices, by the names that they have in Python.
struct Parameters {
  std::map<std::string, Floats> values = {
      {"byte_embeddings", Floats(rows_of(byte_features) * hidden)},
      {"ngram_embeddings", Floats((std::size_t{1} << buckets_log2) * hidden)},
      {"output", Floats(hidden * vocabulary)},
      {"bias", Floats(vocabulary)},
      {"control_embeddings", Floats(rows_of(control_features) * control_hidden)},
      {"control_output", Floats(control_hidden * controls)},
      {"control_bias", Floats(controls)},
  };
  Floats &operator[](const char *name) { return values.at(name); }
  const Floats &operator[](const char *name) const { return values.at(name); }
};

/// y += a x
void add(float a, const float *x, float *y, std::size_t n) {
  for (std::size_t i = 0; i < n; i++)
    y[i] += a * x[i];
}

float dot(const float *x, const float *y, std::size_t n) {
  std::array<float, 16> lanes{};
  std::size_t i = 0;
  for (; i + lanes.size() <= n; i += lanes.size())
    for (std::size_t lane = 0; lane < lanes.size(); lane++)
      lanes[lane] += x[i + lane] * y[i + lane];
  for (; i < n; i++)
    lanes[0] += x[i] * y[i];
  return std::accumulate(lanes.begin(), lanes.end(), 0.0f);
}

/// The forward pass over some responses, laid end to end, and what the backward pass needs of it.
class Pass {
public:
  Pass(const Parameters &parameters, const Preferences &data, const Indices &responses) : parameters_(parameters) {
    offsets_.push_back(0);
    for (const auto response : responses) {
      const auto &positions = data.responses[response];
      positions_.insert(positions_.end(), positions.begin(), positions.end());
      offsets_.push_back(static_cast<std::int64_t>(positions_.size()));
    }
    const auto n = positions_.size();
    hidden_.resize(n * hidden);
    control_hidden_.resize(n * control_hidden);
    logits_.resize(n * vocabulary);
    labels_.resize(n);
    for (std::size_t i = 0; i < n; i++)
      forward(i);

    logps.resize(responses.size());
    normalizers_.resize(n);
    swiftdpo::sequence_logps(batch(), {.shift = false}, {.logps = logps, .log_normalizers = normalizers_});
  }

  std::size_t num_tokens() const { return positions_.size(); }

  /// The gradient by the parameters, given that by the log-probabilities. The logits are overwritten.
  Parameters gradients(const Doubles &grad_logps) {
    swiftdpo::sequence_logps_backward<float>(batch(), {.shift = false}, grad_logps, normalizers_, logits_);
    Parameters result;
    for (std::size_t i = 0; i < positions_.size(); i++)
      backward(i, result);
    return result;
  }

  Doubles logps; ///< log pi(y|x) of each response

private:
  swiftdpo::logits<float> batch() const {
    return {.vocab_size = vocabulary, .logits = logits_, .labels = labels_, .offsets = offsets_};
  }

  static const float *row(const Floats &table, int index, std::size_t width) {
    return &table[static_cast<std::size_t>(index) * width];
  }
  static float *row(Floats &table, int index, std::size_t width) {
    return &table[static_cast<std::size_t>(index) * width];
  }

  void forward(std::size_t i) {
    const auto &position = positions_[i];
    labels_[i] = position.label;
    float *const h = &hidden_[i * hidden], *const c = &control_hidden_[i * control_hidden];
    for (const int feature : position.bytes)
      add(1, row(parameters_["byte_embeddings"], feature, hidden), h, hidden);
    add(1, row(parameters_["ngram_embeddings"], position.ngram, hidden), h, hidden);
    for (const int feature : position.controls)
      add(1, row(parameters_["control_embeddings"], feature, control_hidden), c, control_hidden);
    std::transform(h, h + hidden, h, [](float x) { return std::tanh(x); });
    std::transform(c, c + control_hidden, c, [](float x) { return std::tanh(x); });

    float *const logits = &logits_[i * vocabulary];
    for (std::size_t k = 0; k < hidden; k++)
      add(h[k], &parameters_["output"][k * vocabulary], logits, vocabulary);
    add(1, parameters_["bias"].data(), logits, vocabulary);
    for (std::size_t k = 0; k < controls; k++) {
      float raise = parameters_["control_bias"][k];
      for (std::size_t j = 0; j < control_hidden; j++)
        raise += c[j] * parameters_["control_output"][j * controls + k];
      if (const int token = position.targets[k]; token >= 0)
        logits[token] += raise;
    }
  }

  void backward(std::size_t i, Parameters &gradient) const {
    const auto &position = positions_[i];
    const float *const h = &hidden_[i * hidden], *const c = &control_hidden_[i * control_hidden];
    const float *const by_logits = &logits_[i * vocabulary];

    std::array<float, hidden> by_hidden;
    for (std::size_t k = 0; k < hidden; k++) {
      by_hidden[k] = dot(by_logits, &parameters_["output"][k * vocabulary], vocabulary) * (1 - h[k] * h[k]);
      add(h[k], by_logits, &gradient["output"][k * vocabulary], vocabulary);
    }
    add(1, by_logits, gradient["bias"].data(), vocabulary);
    for (const int feature : position.bytes)
      add(1, by_hidden.data(), row(gradient["byte_embeddings"], feature, hidden), hidden);
    add(1, by_hidden.data(), row(gradient["ngram_embeddings"], position.ngram, hidden), hidden);

    std::array<float, control_hidden> by_control_hidden{};
    for (std::size_t k = 0; k < controls; k++) {
      if (position.targets[k] < 0)
        continue;
      const float by_raise = by_logits[position.targets[k]];
      gradient["control_bias"][k] += by_raise;
      for (std::size_t j = 0; j < control_hidden; j++) {
        by_control_hidden[j] += by_raise * parameters_["control_output"][j * controls + k];
        gradient["control_output"][j * controls + k] += c[j] * by_raise;
      }
    }
    for (std::size_t j = 0; j < control_hidden; j++)
      by_control_hidden[j] *= 1 - c[j] * c[j];
    for (const int feature : position.controls)
      add(1, by_control_hidden.data(), row(gradient["control_embeddings"], feature, control_hidden), control_hidden);
  }

  const Parameters &parameters_;
  std::vector<Position> positions_;
  std::vector<std::int64_t> offsets_, labels_;
  Floats hidden_, control_hidden_, logits_;
  Doubles normalizers_;
};

/// Kingma and Ba (2015). The gradient's norm is clipped to 1; the rates warm up, then fall linearly.
class Adam {
public:
  Adam(Parameters &parameters, std::map<std::string, double> rates, std::size_t total_steps)
      : parameters_(parameters), rates_(std::move(rates)), total_steps_(static_cast<double>(total_steps)) {}

  void step(const Parameters &gradients) {
    const double schedule = std::min(1.0, (steps_ + 1) / 20) * std::max(0.05, 1 - steps_ / total_steps_);
    steps_++;
    const double unbias = std::sqrt(1 - std::pow(0.999, steps_)) / (1 - std::pow(0.9, steps_));
    double squares = 0;
    for (const auto &[name, gradient] : gradients.values)
      for (const float g : gradient)
        squares += static_cast<double>(g) * g;
    const double clip = std::max(std::sqrt(squares), 1.0);
    for (const auto &[name, gradient] : gradients.values) {
      auto &mean = mean_.values.at(name), &square = square_.values.at(name), &values = parameters_.values.at(name);
      const auto rate = static_cast<float>(rates_.at(name) * schedule * unbias);
      for (std::size_t i = 0; i < gradient.size(); i++) {
        const auto g = static_cast<float>(gradient[i] / clip);
        mean[i] += 0.1f * (g - mean[i]);
        square[i] += 0.001f * (g * g - square[i]);
        values[i] -= rate * mean[i] / (std::sqrt(square[i]) + 1e-8f);
      }
    }
  }

private:
  Parameters &parameters_, mean_{}, square_{};
  std::map<std::string, double> rates_;
  double steps_ = 0, total_steps_;
};

// ------------------------------------------------------------------------------------------------------ The training

struct Evaluation {
  double loss = 0, margin = 0, accuracy = 0;
};

class Run {
public:
  Run(const Preferences &data, const Json &start) : data_(data), start_(start) {
    for (const auto &[name, values] : start.at("parameters").items()) {
      auto &table = model_.values.at(name);
      if (values.size() != table.size())
        throw std::runtime_error(name + " has another size in the start than in this program");
      std::transform(values.begin(), values.end(), table.begin(), [](const Json &x) { return x.get<float>(); });
    }
  }

  void operator()() {
    supervise();
    reference_ = log_probabilities(all_responses());
    std::printf("supervised %.6f bits per byte\n", bits_per_byte());
    report(0);
    prefer();
  }

private:
  using Batches = std::vector<std::vector<Indices>>; // of each epoch

  static std::size_t steps(const Batches &epochs) {
    return std::accumulate(epochs.begin(), epochs.end(), std::size_t{0},
                           [](std::size_t sum, const auto &epoch) { return sum + epoch.size(); });
  }

  std::map<std::string, double> rates(double rate) const {
    std::map<std::string, double> result;
    for (const auto &[name, values] : model_.values)
      result[name] = rate;
    return result;
  }

  /// Phase 1: maximum likelihood of the chosen responses.
  void supervise() {
    const Batches epochs = start_.at("supervised_batches");
    Adam optimizer(model_, rates(start_.at("supervised_rate")), steps(epochs));
    for (const auto &epoch : epochs)
      for (const auto &batch : epoch) {
        Pass pass(model_, data_, batch);
        // loss = -mean over tokens of log pi: its gradient by each response's log pi is one number
        optimizer.step(pass.gradients(Doubles(batch.size(), -1.0 / static_cast<double>(pass.num_tokens()))));
      }
  }

  /// Phase 2: direct preference optimization.
  void prefer() {
    const Batches epochs = start_.at("preference_batches");
    auto rate = rates(start_.at("preference_rate"));
    rate["ngram_embeddings"] = start_.at("ngram_rate");
    for (const char *name : {"control_embeddings", "control_output", "control_bias"})
      rate[name] = start_.at("control_rate");
    Adam optimizer(model_, rate, steps(epochs));
    for (int number = 1; const auto &epoch : epochs) {
      for (const auto &batch : epoch) {
        Pass pass(model_, data_, both(batch));
        Doubles gradient(pass.logps.size());
        const std::span by_logps(gradient);
        loss(pass.logps, batch,
             {.grad_policy_chosen_logps = by_logps.first(batch.size()),
              .grad_policy_rejected_logps = by_logps.last(batch.size())});
        optimizer.step(pass.gradients(gradient));
      }
      report(number++);
    }
  }

  /// Of some pairs, given the policy's log-probabilities of `both` responses. Votes are soft labels.
  double loss(const Doubles &policy, const Indices &pairs, const swiftdpo::pair_results<double> &results) const {
    const auto n = pairs.size();
    Doubles reference, p_chosen;
    for (const auto response : both(pairs))
      reference.push_back(reference_[response]);
    for (const auto pair : pairs)
      p_chosen.push_back(data_.p_chosen[pair]);
    const std::span policy_logps(policy);
    const std::span<const double> ref_logps(reference);
    return swiftdpo::dpo_loss(swiftdpo::pairs<double>{.policy_chosen_logps = policy_logps.first(n),
                                                      .policy_rejected_logps = policy_logps.last(n),
                                                      .ref_chosen_logps = ref_logps.first(n),
                                                      .ref_rejected_logps = ref_logps.last(n),
                                                      .soft_labels = p_chosen},
                              {.beta = start_.at("beta").get<double>()}, results);
  }

  Evaluation evaluate(const Indices &pairs) const {
    const auto n = pairs.size();
    const auto logps = log_probabilities(both(pairs));
    Doubles policy, chosen(n), rejected(n);
    for (const auto response : both(pairs))
      policy.push_back(logps[response]);
    Evaluation result;
    result.loss = loss(policy, pairs, {.chosen_rewards = chosen, .rejected_rewards = rejected});
    double decided = 0;
    for (std::size_t i = 0; i < n; i++) {
      const double margin = chosen[i] - rejected[i];
      result.margin += margin / static_cast<double>(n);
      if (data_.p_chosen[pairs[i]] > 0.5) {
        decided++;
        result.accuracy += margin > 0 ? 1 : margin == 0 ? 0.5 : 0;
      }
    }
    result.accuracy /= decided;
    return result;
  }

  void report(int epoch) const {
    std::printf("epoch %d", epoch);
    for (const char *side : {"train", "validation"}) {
      const auto [loss, margin, accuracy] = evaluate(start_.at("evaluated").at(side));
      std::printf("  %s loss %.6f margin %.6f accuracy %.6f", side, loss, margin, accuracy);
    }
    std::printf("\n");
    std::fflush(stdout);
  }

  /// Of the chosen validation responses. A model that knows nothing has 8.
  double bits_per_byte() const {
    double logps = 0, tokens = 0;
    for (const std::size_t pair : start_.at("evaluated").at("validation").get<Indices>()) {
      logps += reference_[2 * pair];
      tokens += static_cast<double>(data_.responses[2 * pair].size());
    }
    return -logps / tokens / std::log(2.0);
  }

  /// By number of response; only those of `responses` are computed.
  Doubles log_probabilities(const Indices &responses) const {
    Doubles result(data_.responses.size(), std::nan(""));
    for (std::size_t first = 0; first < responses.size(); first += 16) {
      const auto last = std::min(first + 16, responses.size());
      const Indices batch(responses.begin() + static_cast<std::ptrdiff_t>(first),
                          responses.begin() + static_cast<std::ptrdiff_t>(last));
      const Pass pass(model_, data_, batch);
      for (std::size_t i = 0; i < batch.size(); i++)
        result[batch[i]] = pass.logps[i];
    }
    return result;
  }

  Indices all_responses() const {
    Indices result(data_.responses.size());
    std::iota(result.begin(), result.end(), std::size_t{0});
    return result;
  }

  /// The chosen responses of some pairs, and then the rejected ones.
  static Indices both(const Indices &pairs) {
    Indices result;
    for (const std::size_t side : {0, 1})
      std::transform(pairs.begin(), pairs.end(), std::back_inserter(result), [=](auto i) { return 2 * i + side; });
    return result;
  }

  const Preferences &data_;
  const Json &start_;
  Parameters model_;
  Doubles reference_;
};

} // namespace

int main(int argc, char **argv) {
  try {
    if (argc != 3)
      throw std::runtime_error("usage: dpo_train PAIRS START");
    swiftdpo::check_version();
    const Preferences data(argv[1]);
    std::ifstream file(argv[2]);
    const Json start = Json::parse(file);
    Run(data, start)();
    return 0;
  } catch (const std::exception &problem) {
    std::fprintf(stderr, "dpo_train: %s\n", problem.what());
    return 1;
  }
}
