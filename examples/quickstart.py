"""Learn two environments one after the other, and see what is left of the first."""

from experiments import Config, Result, train


def main(config: Config) -> Result:
    """Trains, and prints the scores (a row per stage, a column per task) and the metrics."""
    result = train(config)
    print(result.scores.mean(axis=0).round(1))
    for name, value in result.metrics.items():
        print(f"{name}: {value['mean']}")
    return result


if __name__ == "__main__":
    main(Config(envs="CartPole,Acrobot"))
