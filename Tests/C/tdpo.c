/* TDPO: values and gradients against the formulas in extended precision, what it shares with DPO, and how it refuses. */
#include <math.h>

#include "real.h"
#include "refused.h"

enum { COUNT = 13 };

/** Everything that the call reads and writes. */
typedef struct fixture {
  struct {
    real policy_chosen[COUNT], policy_rejected[COUNT], ref_chosen[COUNT], ref_rejected[COUNT];
    real betas[COUNT], margins[COUNT], weights[COUNT], chosen_kl[COUNT], rejected_kl[COUNT];
  } read;
  struct {
    double loss;
    real losses[COUNT], grad_chosen[COUNT], grad_rejected[COUNT], chosen_rewards[COUNT], gradient_weights[COUNT];
    real grad_betas[COUNT], grad_margins[COUNT], grad_chosen_kl[COUNT], grad_rejected_kl[COUNT], kl_margins[COUNT];
  } written;
  TYPED(swiftdpo_pairs) pairs;
  TYPED(swiftdpo_tdpo) tdpo;
  swiftdpo_dpo_options options;
  TYPED(swiftdpo_pair_results) results;
} fixture;

static void fixture_init(fixture *f) {
  memset(f, 0, sizeof *f);
  memset(&f->written, UNTOUCHED, sizeof f->written);
  uint64_t seed = 5;
  for (size_t i = 0; i < COUNT; i++) {
    f->read.policy_chosen[i] = random_real(&seed, -40, 0);
    f->read.policy_rejected[i] = random_real(&seed, -40, 0);
    f->read.ref_chosen[i] = random_real(&seed, -40, 0);
    f->read.ref_rejected[i] = random_real(&seed, -40, 0);
    f->read.betas[i] = random_real(&seed, 0.01, 2);
    f->read.margins[i] = random_real(&seed, -3, 3);
    f->read.weights[i] = random_real(&seed, 0, 2);
    f->read.chosen_kl[i] = random_real(&seed, 0, 20);
    f->read.rejected_kl[i] = random_real(&seed, 0, 20);
  }
  f->pairs = (TYPED(swiftdpo_pairs))INIT(PAIRS);
  f->pairs.count = COUNT;
  f->pairs.policy_chosen_logps = f->read.policy_chosen;
  f->pairs.policy_rejected_logps = f->read.policy_rejected;
  f->pairs.ref_chosen_logps = f->read.ref_chosen;
  f->pairs.ref_rejected_logps = f->read.ref_rejected;
  f->pairs.betas = f->read.betas;
  f->pairs.margins = f->read.margins;
  f->pairs.weights = f->read.weights;
  f->tdpo = (TYPED(swiftdpo_tdpo))INIT(TDPO);
  f->tdpo.chosen_kl = f->read.chosen_kl;
  f->tdpo.rejected_kl = f->read.rejected_kl;
  f->tdpo.grad_chosen_kl = f->written.grad_chosen_kl;
  f->tdpo.grad_rejected_kl = f->written.grad_rejected_kl;
  f->tdpo.kl_margins = f->written.kl_margins;
  f->options = (swiftdpo_dpo_options)SWIFTDPO_DPO_OPTIONS_INIT;
  f->results = (TYPED(swiftdpo_pair_results))INIT(PAIR_RESULTS);
  f->results.loss = &f->written.loss;
  f->results.losses = f->written.losses;
  f->results.grad_policy_chosen_logps = f->written.grad_chosen;
  f->results.grad_policy_rejected_logps = f->written.grad_rejected;
  f->results.chosen_rewards = f->written.chosen_rewards;
  f->results.gradient_weights = f->written.gradient_weights;
  f->results.grad_betas = f->written.grad_betas;
  f->results.grad_margins = f->written.grad_margins;
}

static swiftdpo_status call(fixture *f, swiftdpo_culprit *culprit) {
  return TYPED(swiftdpo_tdpo_loss)(&f->pairs, &f->tdpo, &f->options, &f->results, culprit);
}

#define CHECK_NEAR(value, exact) CHECK_ULPS(4.0, value, exact)

/** Every output against the header's formulas. */
static void check_pairs(const fixture *f, long double alpha, bool is_first) {
  for (size_t i = 0; i < COUNT; i++) {
    const long double a = (long double)f->read.policy_chosen[i] - f->read.ref_chosen[i];
    const long double b = (long double)f->read.policy_rejected[i] - f->read.ref_rejected[i];
    const long double beta = f->read.betas[i], weight = f->read.weights[i];
    const long double lead = alpha * ((long double)f->read.rejected_kl[i] - f->read.chosen_kl[i]);
    const long double z = beta * (a - b - lead) - f->read.margins[i];
    const long double complement = 1 / (1 + expl(z)), share = weight / COUNT * complement;
    CHECK_NEAR(f->written.losses[i], weight * (fmaxl(-z, 0) + log1pl(expl(-fabsl(z)))));
    CHECK_NEAR(f->written.gradient_weights[i], complement);
    CHECK_NEAR(f->written.grad_chosen[i], -beta * share);
    CHECK(f->written.grad_rejected[i] == -f->written.grad_chosen[i]);
    CHECK_REAL(f->written.chosen_rewards[i], beta * a);
    CHECK_NEAR(f->written.grad_betas[i], -share * (a - b - lead));
    CHECK_NEAR(f->written.grad_margins[i], share);
    CHECK_NEAR(f->written.grad_rejected_kl[i], alpha * beta * share);
    CHECK(f->written.grad_chosen_kl[i] == (is_first ? -f->written.grad_rejected_kl[i] : 0));
    CHECK_REAL(f->written.kl_margins[i], beta * lead);
  }
}

static void test_formulas(void) {
  static const double alphas[] = {0.5, 1, 0.3, 1e-3, 40};
  for (size_t i = 0; i < sizeof alphas / sizeof *alphas; i++) {
    fixture f;
    fixture_init(&f);
    f.tdpo.alpha = alphas[i];
    CHECK_OK(call(&f, NULL));
    check_pairs(&f, alphas[i], false);
    fixture_init(&f);
    f.tdpo.alpha = alphas[i]; /* which TDPO1 leaves alone */
    f.tdpo.loss_type = SWIFTDPO_TDPO1;
    CHECK_OK(call(&f, NULL));
    check_pairs(&f, 1, true);
  }
}

/** Without divergences every result is DPO's, bit for bit, and so it is between equal ones. */
static void test_without_divergences_it_is_dpo(void) {
  for (int plain = 0; plain < 2; plain++) {
    for (int way = 0; way < 2; way++) {
      fixture f, dpo;
      fixture_init(&f);
      fixture_init(&dpo);
      fixture *const both[] = {&f, &dpo};
      for (int i = 0; plain && i < 2; i++) {
        both[i]->pairs.betas = both[i]->pairs.margins = both[i]->pairs.weights = NULL;
        both[i]->results.grad_betas = both[i]->results.grad_margins = NULL;
      }
      if (way == 0)
        f.tdpo.alpha = 0;
      else
        f.tdpo.chosen_kl = f.read.rejected_kl;
      CHECK_OK(call(&f, NULL));
      CHECK_OK(TYPED(swiftdpo_dpo_loss)(&dpo.pairs, &dpo.options, &dpo.results, NULL));
      CHECK_SAME_BITS(&f.written, &dpo.written, offsetof(fixture, written.grad_chosen_kl) - offsetof(fixture, written));
      for (size_t i = 0; i < COUNT; i++)
        CHECK(f.written.kl_margins[i] == 0);
    }
  }
}

/** Other losses of z take the divergences as they take a margin. */
static void test_other_losses(void) {
  static const swiftdpo_loss_type losses[] = {SWIFTDPO_LOSS_HINGE, SWIFTDPO_LOSS_IPO, SWIFTDPO_LOSS_DAVIDSON};
  fixture f, dpo;
  fixture_init(&f);
  fixture_init(&dpo);
  f.options.loss_types = dpo.options.loss_types = losses;
  f.options.num_losses = dpo.options.num_losses = sizeof losses / sizeof *losses;
  f.tdpo.alpha = 0.25;
  for (int i = 0; i < COUNT; i++) {
    /* Few digits, so that the margin is exact. */
    f.read.betas[i] = dpo.read.betas[i] = (real)0.5;
    f.read.margins[i] = 0;
    f.read.chosen_kl[i] = (real)(i * 0.5), f.read.rejected_kl[i] = (real)((i * 7 % 5) * 0.25);
    dpo.read.margins[i] = (real)0.125 * (f.read.rejected_kl[i] - f.read.chosen_kl[i]);
  }
  CHECK_OK(call(&f, NULL));
  CHECK_OK(TYPED(swiftdpo_dpo_loss)(&dpo.pairs, &dpo.options, &dpo.results, NULL));
  for (size_t i = 0; i < COUNT; i++) {
    CHECK_NEAR(f.written.losses[i], dpo.written.losses[i]);
    CHECK_NEAR(f.written.grad_chosen[i], dpo.written.grad_chosen[i]);
    CHECK(f.written.kl_margins[i] == dpo.read.margins[i]);
  }
}

/** Numbers at the ends of the type: nothing is NaN. */
static void test_extremes(void) {
  const real most = (real)(REAL_BITS == 32 ? 0x1.fffffep127 : 0x1.fffffffffffffp1023);
  for (int mask = 0; mask < 64; mask++) {
    fixture f;
    fixture_init(&f);
    for (size_t i = 0; i < COUNT; i++) {
      f.read.policy_chosen[i] = mask & 1 ? most : -most;
      f.read.policy_rejected[i] = mask & 2 ? most : -most;
      f.read.ref_chosen[i] = f.read.ref_rejected[i] = 0;
      f.read.chosen_kl[i] = mask & 4 ? most : -most;
      f.read.rejected_kl[i] = mask & 8 ? most : -most;
      f.read.betas[i] = mask & 16 ? most : REAL_TINY;
    }
    f.tdpo.alpha = mask & 32 ? 0x1.fffffffffffffp1023 : 0x1p-1074;
    CHECK_OK(call(&f, NULL));
    const real *const results[] = {f.written.losses,         f.written.grad_chosen,      f.written.grad_rejected,
                                   f.written.chosen_rewards, f.written.gradient_weights, f.written.grad_betas,
                                   f.written.grad_margins,   f.written.grad_chosen_kl,   f.written.grad_rejected_kl,
                                   f.written.kl_margins};
    for (size_t which = 0; which < sizeof results / sizeof *results; which++)
      for (size_t i = 0; i < COUNT; i++)
        check_that(!isnan(results[which][i]), __FILE__, __LINE__, "result %zu of case %d is NaN", which, mask);
  }
}

static void test_empty_batch(void) {
  fixture f;
  fixture_init(&f);
  f.pairs.count = 0;
  CHECK_OK(call(&f, NULL));
  CHECK(f.written.loss == 0);
  f.tdpo.chosen_kl = f.tdpo.rejected_kl = NULL;
  CHECK_OK(call(&f, NULL));
}

static void test_bad_input(void) {
  ACCEPTED();
  fixture f;
  fixture_init(&f);
  swiftdpo_culprit culprit = {"nobody", 999};
  CHECK_STATUS(SWIFTDPO_ERROR_NULL_POINTER,
               TYPED(swiftdpo_tdpo_loss)(&f.pairs, NULL, &f.options, &f.results, &culprit));
  CHECK(strcmp(culprit.argument, "tdpo") == 0 && culprit.index == 0);
  CHECK(is_untouched(&f.written, sizeof f.written));
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "tdpo", 0, f.tdpo.struct_size -= 8);
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "tdpo", 0, f.tdpo.struct_size += 8);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "chosen_kl", 0, f.tdpo.chosen_kl = NULL);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "rejected_kl", 0, f.tdpo.rejected_kl = NULL);
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "chosen_kl", 0, f.tdpo.chosen_kl = MISALIGNED(f.read.chosen_kl));
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "kl_margins", 0, f.tdpo.kl_margins = MISALIGNED(f.written.kl_margins));
  REFUSED(SWIFTDPO_ERROR_PARAMETER, "alpha", 0, f.tdpo.alpha = -0x1p-1074);
  REFUSED(SWIFTDPO_ERROR_PARAMETER, "alpha", 0, f.tdpo.alpha = NAN);
  REFUSED(SWIFTDPO_ERROR_PARAMETER, "alpha", 0, f.tdpo.alpha = INFINITY, f.tdpo.loss_type = SWIFTDPO_TDPO1);
  REFUSED(SWIFTDPO_ERROR_LOSS_TYPE, "loss_type", 0, f.tdpo.loss_type = (swiftdpo_tdpo_loss_type)2);
  REFUSED(SWIFTDPO_ERROR_LOSS_TYPE, "loss_type", 0, f.tdpo.loss_type = (swiftdpo_tdpo_loss_type)-1);
  for (size_t i = 0; i < COUNT; i++) {
    REFUSED(SWIFTDPO_ERROR_NONFINITE, "chosen_kl", i, f.read.chosen_kl[i] = (real)NAN);
    REFUSED(SWIFTDPO_ERROR_NONFINITE, "rejected_kl", i, f.read.rejected_kl[i] = (real)-INFINITY,
            f.options.nonfinite = SWIFTDPO_NONFINITE_PROPAGATE);
  }
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "grad_chosen_kl", 0, f.tdpo.grad_chosen_kl = f.read.chosen_kl + COUNT - 1);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "grad_rejected_kl", 0, f.tdpo.grad_rejected_kl = f.written.losses);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "kl_margins", 0, f.tdpo.kl_margins = f.written.grad_rejected_kl + 1);
  static const swiftdpo_loss_type losses[] = {
      SWIFTDPO_LOSS_SIGMOID,   SWIFTDPO_LOSS_NCA_PAIR, SWIFTDPO_LOSS_BCO_PAIR,
      SWIFTDPO_LOSS_SPPO_HARD, SWIFTDPO_LOSS_AOT,      SWIFTDPO_LOSS_APO_ZERO,
      SWIFTDPO_LOSS_APO_DOWN,  SWIFTDPO_LOSS_ALPHAPO,  SWIFTDPO_LOSS_AOT_UNPAIRED,
  };
  for (size_t i = 1; i < sizeof losses / sizeof *losses; i++) {
    const swiftdpo_loss_type two[] = {losses[0], losses[i]};
    REFUSED(SWIFTDPO_ERROR_CHOICE_OF_INPUT, "loss_types", 1, f.options.loss_types = two, f.options.num_losses = 2);
  }
  /* What all losses over pairs refuse. */
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "policy_chosen_logps", 0, f.pairs.policy_chosen_logps = NULL);
  REFUSED(SWIFTDPO_ERROR_BETA, "betas", 3, f.read.betas[3] = 0);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "ref_chosen_logps", 7, f.read.ref_chosen[7] = (real)NAN);
}

void TYPED(test_tdpo)(void) {
  test_formulas();
  test_without_divergences_it_is_dpo();
  test_other_losses();
  test_extremes();
  test_empty_batch();
  test_bad_input();
}
