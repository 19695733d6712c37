//! A table compiled for looking up: immutable, shared by all requests, swapped whole.
//!
//! Not for changing, but for one thing: the health of arms, atomics that every request reads.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use crate::allocation::buckets;
use crate::arm_health::ModelHealth;
use crate::assignment_hash::{BUCKETS, bucket, key_hash, salt_seed};
use crate::decision::{Arm, Decision, Reason, ShadowTarget, UnknownLabel};
use crate::effective_share::DisturbedShares;
use crate::rules::CompiledRule;
use crate::shadow_sampling::is_sampled;
use crate::validation::Problem;
use crate::version_name::is_latest;
use crate::{
    ModelTraffic, RequestFacts, RequestedVersion, RuleSubject, SampledShadows, SequenceFact, ServedVersion,
    ShadowTargetDeclaration, Sticky, TrafficTable, VersionName,
};

/// Longest value that is a segment, in bytes.
pub const LONGEST_SEGMENT: usize = 200;

/// A compiled table.
#[derive(Debug, Default)]
pub struct Snapshot {
    table: TrafficTable,
    models: HashMap<Box<str>, CompiledModel, NameHash>,
}

/// What one public model does, ready to decide.
#[derive(Debug)]
pub(crate) struct CompiledModel {
    arms: Box<[Arc<Arm>]>,
    weights: Box<[u16]>,
    /// Arm index of every bucket.
    buckets: Box<[u8]>,
    rules: Box<[CompiledRule]>,
    sticky: Sticky,
    seed: u64,
    labels: BTreeMap<String, u64>,
    shadows: Arc<[Arc<ShadowTarget>]>,
    /// Share in basis points of every shadow.
    shadow_shares: Box<[u16]>,
    health: ModelHealth,
    segment: Option<RuleSubject>,
    tell: bool,
    observed: bool,
}

impl Snapshot {
    /// Compiles `table`; arms that `previous` has too keep their health.
    ///
    /// # Errors
    /// Every problem of the table.
    pub fn compile(table: TrafficTable, previous: Option<&Self>) -> Result<Self, Vec<Problem>> {
        let problems = table.problems();
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut models = HashMap::with_capacity_and_hasher(table.models.len(), NameHash);
        for (name, traffic) in &table.models {
            let before = previous.and_then(|snapshot| snapshot.models.get(name.as_str()));
            let compiled = CompiledModel::new(&table, name, traffic, before);
            models.insert(name.as_str().into(), compiled);
        }
        Ok(Self { table, models })
    }

    /// Revision of the table.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.table.version
    }

    /// The table as declared.
    #[must_use]
    pub const fn table(&self) -> &TrafficTable {
        &self.table
    }

    /// Arms of a public model in declared order, `None` where the table does not name it.
    #[must_use]
    pub fn arms(&self, model: &str) -> Option<&[Arc<Arm>]> {
        self.model(model).map(|entry| &*entry.arms)
    }

    /// Health of the arms of a public model.
    #[must_use]
    pub fn health(&self, model: &str) -> Option<&ModelHealth> {
        self.model(model).map(|entry| &entry.health)
    }

    pub(crate) fn model(&self, name: &str) -> Option<&CompiledModel> {
        if self.models.is_empty() { None } else { self.models.get(name) }
    }
}

impl CompiledModel {
    /// Compiles an entry of a validated table.
    fn new(table: &TrafficTable, public: &str, traffic: &ModelTraffic, before: Option<&Self>) -> Self {
        let resolve = |model: &str, version: &VersionName| match version {
            VersionName::Latest => ServedVersion::Latest,
            VersionName::Number(number) => ServedVersion::Number(*number),
            VersionName::Label(label) => {
                let number = table.models.get(model).and_then(|entry| entry.labels.get(label));
                number.map_or(ServedVersion::Latest, |&number| ServedVersion::Number(number))
            }
        };
        let arm = |declared: &crate::ArmDeclaration| {
            let model = declared.model.as_deref().unwrap_or(public);
            Arc::new(Arm {
                public_model: public.into(),
                name: declared.name.as_str().into(),
                model: model.into(),
                version: resolve(model, &declared.version),
            })
        };
        let arms: Box<[Arc<Arm>]> = traffic.arms.iter().map(arm).collect();
        let index_of = |name: &str| traffic.arms.iter().position(|declared| declared.name == name);
        let rules =
            traffic.rules.iter().filter_map(|rule| CompiledRule::new(rule, index_of(&rule.arm)?).ok()).collect();
        let shadow = |declared: &crate::ShadowDeclaration| {
            let (model, version): (Box<str>, _) = match &declared.target {
                ShadowTargetDeclaration::Arm(name) => {
                    let arm = &arms[index_of(name)?];
                    (arm.model.clone(), arm.version)
                }
                ShadowTargetDeclaration::Version { model, version } => {
                    let model = model.as_deref().unwrap_or(public);
                    (model.into(), resolve(model, version))
                }
            };
            let compare = declared.compare.as_str().into();
            let target = Arc::new(ShadowTarget { public_model: public.into(), model, version, compare });
            Some((target, declared.share_basis_points))
        };
        let (shadows, shadow_shares): (Vec<_>, Vec<_>) = traffic.shadow.iter().filter_map(shadow).unzip();
        let health = ModelHealth::new(arms.len());
        if let (Some(before), true) = (before, traffic.outlier_ejection.is_some()) {
            for (index, arm) in arms.iter().enumerate() {
                if let Some(old) = before.arms.iter().position(|old| old == arm) {
                    health.admit(index, before.health.admission(old));
                }
            }
        }
        let sticky = match &traffic.sticky {
            Sticky::Header(name) => Sticky::Header(name.to_ascii_lowercase()),
            other => other.clone(),
        };
        Self {
            weights: traffic.arms.iter().map(|arm| arm.weight_basis_points).collect(),
            buckets: buckets(traffic).into_boxed_slice(),
            seed: salt_seed(traffic.salt.as_deref().unwrap_or(public).as_bytes()),
            labels: traffic.labels.clone(),
            segment: traffic.segment.as_ref().map(RuleSubject::for_lookup),
            tell: traffic.tell,
            observed: !traffic.unobserved || traffic.outlier_ejection.is_some(),
            arms,
            rules,
            sticky,
            shadows: shadows.into(),
            shadow_shares: shadow_shares.into(),
            health,
        }
    }

    /// Whether somebody reads what becomes of this model's requests.
    pub(crate) const fn is_observed(&self) -> bool {
        self.observed
    }

    /// Whether answers of this model tell who served.
    pub(crate) const fn tells(&self) -> bool {
        self.tell
    }

    /// The first arm.
    pub(crate) fn baseline(&self) -> Option<&Arc<Arm>> {
        self.arms.first()
    }

    /// Whether this entry still copies to `target`.
    pub(crate) fn shadows(&self, target: &ShadowTarget) -> bool {
        self.shadows.iter().any(|shadow| **shadow == *target)
    }

    fn sticky_hash<F: RequestFacts + ?Sized>(&self, facts: &F, sequence: Option<&SequenceFact<'_>>) -> Option<u64> {
        let hash = |key: &[u8]| key_hash(self.seed, key);
        let named = match &self.sticky {
            Sticky::None | Sticky::Sequence => None,
            Sticky::Header(name) => facts.header(name).map(hash),
            Sticky::Parameter(name) => facts.parameter(name).map(|value| hash(value.as_bytes())),
            Sticky::Tensor(name) => facts.tensor_key(name).map(|value| hash(value.as_bytes())),
        };
        named.or_else(|| sequence.map(|sequence| hash(sequence.id.key().as_bytes())))
    }

    /// Decides a request that names no version.
    pub(crate) fn decide<F: RequestFacts + ?Sized>(
        &self,
        facts: &F,
        sequence: Option<&SequenceFact<'_>>,
        table_version: u64,
    ) -> Decision {
        let sticky = self.sticky_hash(facts, sequence);
        let number = sticky.unwrap_or_else(|| facts.number());
        let rule = self.rules.iter().find(|rule| rule.matches(facts));
        let (wanted, reason) = match (rule, sticky) {
            (Some(rule), _) => (rule.arm, Reason::Rule),
            (None, None) => (usize::from(self.buckets[usize::from(bucket(number))]), Reason::Weight),
            (None, Some(_)) => (usize::from(self.buckets[usize::from(bucket(number))]), Reason::Sticky),
        };
        let (index, reason, probability) = if self.health.is_disturbed() {
            let shares = DisturbedShares::new(&self.weights, |arm| self.health.admission(arm));
            let (index, moved) = shares.place(wanted, number);
            let probability = if rule.is_some() && !moved { BUCKETS } else { shares.share(index) };
            (index, if moved { Reason::Ejected } else { reason }, probability)
        } else {
            (wanted, reason, if rule.is_some() { BUCKETS } else { self.weights[wanted] })
        };
        let arm = &self.arms[index];
        let shadows = if self.shadows.is_empty() {
            SampledShadows::default()
        } else {
            let number =
                sequence.map_or_else(|| facts.number(), |sequence| key_hash(self.seed, sequence.id.key().as_bytes()));
            self.sampled_shadows(arm, number)
        };
        Decision {
            version: arm.version,
            arm: Some(Arc::clone(arm)),
            probability_basis_points: probability,
            reason,
            table_version,
            // 0 means none; one key in 2^64 gives way.
            sticky_key_hash: sticky.map_or(0, |hash| hash.max(1)),
            segment: self.segment(facts),
            tell: self.tell,
            observed: self.observed,
            shadows,
        }
    }

    /// The segment of an observed request. Values that are empty, long, or no text are no segments.
    fn segment<F: RequestFacts + ?Sized>(&self, facts: &F) -> Option<Box<str>> {
        let subject = self.segment.as_ref().filter(|_| self.observed)?;
        let value = subject.value(facts)?;
        let text = std::str::from_utf8(value.as_bytes()).ok()?.trim();
        (!text.is_empty() && text.len() <= LONGEST_SEGMENT).then(|| text.into())
    }

    /// Shadows that take the request; none is a copy for who serves it anyway.
    fn sampled_shadows(&self, arm: &Arm, number: u64) -> SampledShadows {
        SampledShadows::choose(&self.shadows, |position| {
            let shadow = &self.shadows[position];
            let same = shadow.model == arm.model && shadow.version == arm.version;
            !same && is_sampled(number, position, self.shadow_shares[position])
        })
    }
}

/// Resolves a version that the request names; `None` when it names none.
pub(crate) fn explicit_version(
    entry: Option<&CompiledModel>,
    model: &str,
    version: RequestedVersion<'_>,
) -> Result<Option<ServedVersion>, UnknownLabel> {
    match version {
        RequestedVersion::Any => Ok(None),
        RequestedVersion::Number(number) => Ok(Some(ServedVersion::Number(number))),
        RequestedVersion::Label(label) if is_latest(label) => Ok(Some(ServedVersion::Latest)),
        RequestedVersion::Label(label) => match entry.and_then(|entry| entry.labels.get(label)) {
            Some(&number) => Ok(Some(ServedVersion::Number(number))),
            None => Err(UnknownLabel { model: model.into(), label: label.into() }),
        },
    }
}

/// Hashes model names with XXH3: only operators put names in, so that nobody gains by making them collide.
#[derive(Clone, Copy, Debug, Default)]
struct NameHash;

impl BuildHasher for NameHash {
    type Hasher = NameHasher;

    fn build_hasher(&self) -> NameHasher {
        NameHasher(0)
    }
}

#[derive(Debug)]
struct NameHasher(u64);

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = key_hash(self.0, bytes);
    }

    // The mark that `str` puts after its bytes: there is only one string.
    fn write_u8(&mut self, _: u8) {}

    fn finish(&self) -> u64 {
        self.0
    }
}
