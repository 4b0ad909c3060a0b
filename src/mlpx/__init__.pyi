"""The public names and where they live: read by type checkers, and by `__init__.py`."""

from mlpx import errors as errors
from mlpx.backend import (
    Backend as Backend,
)
from mlpx.backend import (
    array_backend as array_backend,
)
from mlpx.backend import (
    get_backend as get_backend,
)
from mlpx.estimators import (
    MLPClassifier as MLPClassifier,
)
from mlpx.estimators import (
    MLPRegressor as MLPRegressor,
)
from mlpx.kernels.penalties import (
    L1 as L1,
)
from mlpx.kernels.penalties import (
    L2 as L2,
)
from mlpx.kernels.penalties import (
    ElasticNet as ElasticNet,
)
from mlpx.kernels.penalties import (
    Penalty as Penalty,
)
from mlpx.layers import (
    ActivationLayer as ActivationLayer,
)
from mlpx.layers import (
    AlphaDropout as AlphaDropout,
)
from mlpx.layers import (
    BatchNorm as BatchNorm,
)
from mlpx.layers import (
    Dense as Dense,
)
from mlpx.layers import (
    Dropout as Dropout,
)
from mlpx.layers import (
    GaussianNoise as GaussianNoise,
)
from mlpx.layers import (
    Layer as Layer,
)
from mlpx.layers import (
    LayerNorm as LayerNorm,
)
from mlpx.layers import (
    Rescale as Rescale,
)
from mlpx.layers import (
    Residual as Residual,
)
from mlpx.layers import (
    RMSNorm as RMSNorm,
)
from mlpx.mlp import (
    MLP as MLP,
)
from mlpx.optimizers import (
    EMA as EMA,
)
from mlpx.optimizers import (
    LAMB as LAMB,
)
from mlpx.optimizers import (
    LBFGS as LBFGS,
)
from mlpx.optimizers import (
    SGD as SGD,
)
from mlpx.optimizers import (
    SWA as SWA,
)
from mlpx.optimizers import (
    AdaDelta as AdaDelta,
)
from mlpx.optimizers import (
    AdaGrad as AdaGrad,
)
from mlpx.optimizers import (
    Adam as Adam,
)
from mlpx.optimizers import (
    Adamax as Adamax,
)
from mlpx.optimizers import (
    AdamW as AdamW,
)
from mlpx.optimizers import (
    AMSGrad as AMSGrad,
)
from mlpx.optimizers import (
    Lion as Lion,
)
from mlpx.optimizers import (
    Momentum as Momentum,
)
from mlpx.optimizers import (
    Muon as Muon,
)
from mlpx.optimizers import (
    NAdam as NAdam,
)
from mlpx.optimizers import (
    Nesterov as Nesterov,
)
from mlpx.optimizers import (
    Optimizer as Optimizer,
)
from mlpx.optimizers import (
    RAdam as RAdam,
)
from mlpx.optimizers import (
    RMSProp as RMSProp,
)
from mlpx.schedules import (
    Schedule as Schedule,
)
from mlpx.training.callbacks import (
    BestWeights as BestWeights,
)
from mlpx.training.callbacks import (
    Callback as Callback,
)
from mlpx.training.callbacks import (
    CSVLog as CSVLog,
)
from mlpx.training.callbacks import (
    EarlyStopping as EarlyStopping,
)
from mlpx.training.callbacks import (
    StopOnPlateau as StopOnPlateau,
)
from mlpx.training.history import (
    History as History,
)
from mlpx.training.rate_finder import (
    find_learning_rate as find_learning_rate,
)

__version__: str
